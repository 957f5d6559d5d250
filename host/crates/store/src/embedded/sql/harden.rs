//! The limits of a connection that executes a stranger's statements, and the actions that it may
//! take.
//!
//! The rules follow SQLite's own advice for untrusted SQL (<https://sqlite.org/security.html>):
//! small limits, no trust in the schema, an authorizer that allows what is known, and the defensive
//! mode, in which SQL cannot damage the file.

use std::sync::Arc;

use lacewing_base::Access;
use rusqlite::{
    Connection, Result,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};

use super::{
    allowed::{
        FUNCTIONS, HIDDEN_TABLES, INTERNAL, READING_PRAGMAS, SETTING_PRAGMAS, SHOWN_PRAGMAS,
    },
    functions,
    watch::Watch,
};

/// Bytes of a text, a blob or a row. One call of a guest has 1 MiB of values at most.
pub(super) const VALUE_BYTES: i32 = 2 << 20;

/// Each is as small as ordinary programs allow. A statement over one fails with a sentence of
/// SQLite's.
const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 256 << 10),
    (Limit::SQLITE_LIMIT_COLUMN, 500),
    // Nested expressions and queries take stack.
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 500),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    // The time of LIKE and GLOB is the product of text and pattern.
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 10_000),
    // Triggers that fire each other take stack when they are compiled.
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 50),
    (Limit::SQLITE_LIMIT_TRIGGER_STEPS, 100),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    // A schema over it cannot be read any more, so that no statement may come near.
    (Limit::SQLITE_LIMIT_SCHEMA, 10 * SCHEMA_OBJECTS),
];

/// Tables, indexes, triggers and views of a database to which a statement may add. One statement
/// makes one object, and an index for each column at most.
pub(super) const SCHEMA_OBJECTS: i32 = 1000;

/// Makes a connection fit for a stranger's statements. `watch` hears of what is refused, and ends
/// what takes too long.
pub(super) fn harden(
    connection: &mut Connection,
    access: Access,
    database: &str,
    watch: &Arc<Watch>,
) -> Result<()> {
    for (config, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(config, value)?;
    }
    // A damaged page is found before it is used.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    functions::add(connection)?;
    limit(connection)?;
    let database: Arc<str> = database.into();
    let heard = watch.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if heard.is_host() {
            return Authorization::Allow;
        }
        match refusal(&context.action, access, &database) {
            None => {
                if is_create(&context.action) {
                    heard.note_create();
                }
                Authorization::Allow
            }
            Some(sentence) => {
                heard.note_refusal(sentence);
                Authorization::Deny
            }
        }
    }))?;
    let watching = watch.clone();
    connection.progress_handler(OPERATIONS, Some(move || watching.is_over()))
}

/// Sets the limits of a connection.
pub(super) fn limit(connection: &Connection) -> Result<()> {
    LIMITS.iter().try_for_each(|(limit, value)| connection.set_limit(*limit, *value).map(drop))
}

/// Operations of SQLite's machine between two looks at the clock: some microseconds, or a few calls
/// of a function on long texts.
const OPERATIONS: i32 = 32;

fn is_create(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::CreateTable { .. }
            | AuthAction::CreateIndex { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::CreateView { .. }
    )
}

/// Why a guest may not do something, as a sentence; `None` if it may.
fn refusal(action: &AuthAction<'_>, access: Access, database: &str) -> Option<String> {
    match *action {
        AuthAction::Select
        | AuthAction::Recursive
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => None,
        AuthAction::Read { table_name, .. } => HIDDEN_TABLES
            .iter()
            .any(|hidden| hidden.eq_ignore_ascii_case(table_name))
            .then(|| format!("the table `{table_name}` is not for guests")),
        AuthAction::Function { function_name } => {
            let lower = function_name.to_ascii_lowercase();
            let is_known = [FUNCTIONS, INTERNAL].iter().any(|names| names.contains(&&*lower));
            (!is_known).then(|| format!("the function `{lower}` is not for guests"))
        }
        AuthAction::Pragma { pragma_name, pragma_value } => {
            pragma_refusal(pragma_name, pragma_value, access, database)
        }
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => {
            let is_of_planner = table_name.to_ascii_lowercase().starts_with("sqlite_stat");
            match is_of_planner {
                true => Some(format!("the table `{table_name}` is not for guests")),
                false => needs_write(access, database),
            }
        }
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::AlterTable { .. }
        | AuthAction::Reindex { .. } => needs_write(access, database),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some(
            "ATTACH, DETACH and VACUUM are refused: a function uses the databases that it is granted"
                .to_owned(),
        ),
        AuthAction::CreateVtable { module_name, .. } | AuthAction::DropVtable { module_name, .. } => {
            Some(format!("virtual tables are refused, and `{module_name}` makes one"))
        }
        AuthAction::Analyze { .. } => Some("ANALYZE is refused".to_owned()),
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => {
            Some("temporary tables, indexes, triggers and views are refused".to_owned())
        }
        _ => Some("the statement is none that this host knows".to_owned()),
    }
}

/// Why a statement that writes is refused; `None` where the grant allows it.
pub(super) fn needs_write(access: Access, database: &str) -> Option<String> {
    (access < Access::ReadWrite).then(|| {
        format!(
            "the grant for the database `{database}` is `{access}`, and this statement needs `{}`",
            Access::ReadWrite
        )
    })
}

fn pragma_refusal(
    name: &str,
    value: Option<&str>,
    access: Access,
    database: &str,
) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let is_in = |names: &[&str]| names.contains(&&*name);
    if is_in(READING_PRAGMAS) || value.is_none() && (is_in(SETTING_PRAGMAS) || is_in(SHOWN_PRAGMAS))
    {
        return None;
    }
    if !is_in(SETTING_PRAGMAS) {
        return Some(match is_in(SHOWN_PRAGMAS) {
            true => format!("the value of `PRAGMA {name}` can be read, and not set"),
            false => format!("`PRAGMA {name}` is refused"),
        });
    }
    match &*name {
        "user_version" | "application_id" => needs_write(access, database),
        _ => None,
    }
}
