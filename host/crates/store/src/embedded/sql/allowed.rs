//! The functions, pragmas and tables of SQLite that guests may use.

/// Functions of SQLite that a statement may call. Others read or write what is not the guest's
/// (`load_extension`, `sqlite_log`), belong to modules that are refused (FTS, R-Tree), or take
/// time or memory out of proportion (`json_patch`, `json_pretty`).
pub(super) const FUNCTIONS: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_insert",
    "json_array_length",
    "json_error_position",
    "json_each",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_tree",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_array_insert",
    "jsonb_each",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "jsonb_tree",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "median",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "percentile",
    "percentile_cont",
    "percentile_disc",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "soundex",
    "sqlite_source_id",
    "sqlite_version",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "subtype",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "total_changes",
    "trim",
    "trunc",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Functions that ALTER TABLE calls. A statement of a guest cannot: SQLite itself refuses that.
pub(super) const INTERNAL: &[&str] = &[
    "sqlite_add_constraint",
    "sqlite_drop_column",
    "sqlite_drop_constraint",
    "sqlite_fail",
    "sqlite_find_constraint",
    "sqlite_rename_column",
    "sqlite_rename_quotefix",
    "sqlite_rename_table",
    "sqlite_rename_test",
];

/// Pragmas that read, and take no value or the name of a table or an index.
pub(super) const READING_PRAGMAS: &[&str] = &[
    "collation_list",
    "compile_options",
    "foreign_key_check",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "page_count",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that take a value. They change the connection, or a number that is the guest's own.
pub(super) const SETTING_PRAGMAS: &[&str] =
    &["application_id", "defer_foreign_keys", "foreign_keys", "recursive_triggers", "user_version"];

/// Pragmas whose value may be read, and not set.
pub(super) const SHOWN_PRAGMAS: &[&str] =
    &["encoding", "journal_mode", "page_size", "synchronous", "max_page_count"];

/// Tables of modules that show the file's own structure.
pub(super) const HIDDEN_TABLES: &[&str] =
    &["dbstat", "sqlite_dbpage", "sqlite_stmt", "fts3tokenize"];

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{super::memory, *};

    /// Functions of SQLite that are left out on purpose.
    const LEFT_OUT: &[&str] = &[
        "bm25",
        "fts3_tokenizer",
        "fts5",
        "fts5_get_locale",
        "fts5_insttoken",
        "fts5_locale",
        "fts5_source_id",
        "highlight",
        "json_patch",
        "json_pretty",
        "jsonb_patch",
        "load_extension",
        "match",
        "matchinfo",
        "offsets",
        "optimize",
        "rtreecheck",
        "rtreedepth",
        "rtreenode",
        "snippet",
        "sqlite_compileoption_get",
        "sqlite_compileoption_used",
        "sqlite_log",
    ];

    /// A new version of SQLite may have new functions. Each is to be looked at.
    #[test]
    fn each_function_of_sqlite_is_allowed_or_left_out() {
        // The other tests of this process need it.
        assert!(memory::install());
        let connection = Connection::open_in_memory().unwrap();
        let mut names =
            connection.prepare("SELECT DISTINCT name FROM pragma_function_list").unwrap();
        let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let unknown: Vec<String> = names
            .map(|name| name.unwrap())
            .filter(|name| {
                ![FUNCTIONS, LEFT_OUT, INTERNAL].iter().any(|list| list.contains(&name.as_str()))
            })
            .collect();
        assert_eq!(unknown, [""; 0]);
    }
}
