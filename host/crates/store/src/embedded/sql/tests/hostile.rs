//! Statements that try to get out, to stay, or to take too much. After each, the connection and
//! its neighbours go on.

use std::fmt::Write as _;

use super::*;

/// Statements that no guest may execute, each with a part of what it hears.
const REFUSED: &[(&str, &str)] = &[
    ("ATTACH '/etc/passwd' AS p", "ATTACH, DETACH and VACUUM are refused"),
    ("ATTACH ':memory:' AS m", "ATTACH, DETACH and VACUUM are refused"),
    ("ATTACH '' AS m", "ATTACH, DETACH and VACUUM are refused"),
    ("DETACH main", "ATTACH, DETACH and VACUUM are refused"),
    ("VACUUM", "ATTACH, DETACH and VACUUM are refused"),
    ("VACUUM INTO '/tmp/lacewing-stolen.db'", "ATTACH, DETACH and VACUUM are refused"),
    ("PRAGMA writable_schema = ON", "`PRAGMA writable_schema` is refused"),
    ("PRAGMA journal_mode = OFF", "the value of `PRAGMA journal_mode` can be read, and not set"),
    ("PRAGMA synchronous = OFF", "the value of `PRAGMA synchronous` can be read, and not set"),
    ("PRAGMA max_page_count = 1000000", "`PRAGMA max_page_count` can be read, and not set"),
    ("PRAGMA temp_store_directory = '/etc'", "`PRAGMA temp_store_directory` is refused"),
    ("PRAGMA busy_timeout = 100000", "`PRAGMA busy_timeout` is refused"),
    ("PRAGMA cache_size = 1000000", "`PRAGMA cache_size` is refused"),
    ("PRAGMA hard_heap_limit = 1", "`PRAGMA hard_heap_limit` is refused"),
    ("PRAGMA soft_heap_limit = 1", "`PRAGMA soft_heap_limit` is refused"),
    ("PRAGMA mmap_size = 1000000000", "`PRAGMA mmap_size` is refused"),
    ("PRAGMA trusted_schema = ON", "`PRAGMA trusted_schema` is refused"),
    ("PRAGMA locking_mode = EXCLUSIVE", "`PRAGMA locking_mode` is refused"),
    ("PRAGMA wal_checkpoint(TRUNCATE)", "`PRAGMA wal_checkpoint` is refused"),
    ("PRAGMA database_list", "`PRAGMA database_list` is refused"),
    ("SELECT * FROM pragma_database_list", "`PRAGMA database_list` is refused"),
    ("PRAGMA integrity_check", "`PRAGMA integrity_check` is refused"),
    ("PRAGMA encoding = 'UTF-16'", "the value of `PRAGMA encoding` can be read, and not set"),
    ("ANALYZE", "ANALYZE is refused"),
    ("CREATE VIRTUAL TABLE t USING fts5(a)", "virtual tables are refused"),
    ("CREATE VIRTUAL TABLE t USING fts3(a, tokenize=simple)", "virtual tables are refused"),
    ("CREATE VIRTUAL TABLE t USING rtree(a, b, c)", "virtual tables are refused"),
    ("CREATE TEMP TABLE t (a)", "temporary tables"),
    ("CREATE TEMP VIEW t AS SELECT 1", "temporary tables"),
    ("SELECT load_extension('/tmp/x.so')", "the function `load_extension` is not for guests"),
    ("SELECT fts3_tokenizer('simple')", "the function `fts3_tokenizer` is not for guests"),
    ("SELECT sqlite_log(1, 'x')", "the function `sqlite_log` is not for guests"),
    ("SELECT rtreecheck('t')", "the function `rtreecheck` is not for guests"),
    ("SELECT json_patch('{}', '{}')", "the function `json_patch` is not for guests"),
    ("SELECT * FROM dbstat", "the table `dbstat` is not for guests"),
];

#[test]
fn what_a_guest_may_not_do_is_refused_by_name() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE some (name)");
    for (sql, part) in REFUSED {
        let error = place.error(&mut writer, sql);
        let sentence = error.to_string();
        assert!(matches!(error, SqlError::Refused(_)) && sentence.contains(part), "{sql}: {error}");
    }
    assert_eq!(place.run(&mut writer, "SELECT 1"), [[SqlValue::Integer(1)]]);
}

#[test]
fn a_guest_cannot_write_to_the_schema_or_call_what_is_internal() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "CREATE TABLE t (a)");
    for sql in [
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (a, b)'",
        "DELETE FROM sqlite_schema",
        "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x (a)')",
        "CREATE TABLE sqlite_stat1 (a)",
        "SELECT sqlite_rename_table('main', 'table', 't', 'CREATE TABLE t (a)', 't', 'u', 0)",
        "SELECT unhex('41', ' ')",
        &format!("SELECT 'a' LIKE '{}'", "%a".repeat(100)),
    ] {
        let error = place.error(&mut writer, sql);
        assert!(matches!(error, SqlError::Statement(_) | SqlError::Refused(_)), "{sql}: {error}");
    }
}

#[test]
fn ordinary_statements_are_allowed() {
    let place = Place::new();
    let mut writer = place.writer();
    for sql in [
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE b (a REFERENCES a (id) ON DELETE CASCADE, doc, n INT AS (doc ->> '$.n'))",
        "CREATE UNIQUE INDEX b_n ON b (n) WHERE n IS NOT NULL",
        "CREATE VIEW v AS SELECT a.name, b.doc FROM a JOIN b ON b.a = a.id",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO b (a, doc) VALUES (new.id, '{\"n\":1}'); END",
        "INSERT INTO a (name) VALUES ('x') ON CONFLICT DO UPDATE SET name = excluded.name RETURNING *",
        "ALTER TABLE a RENAME COLUMN name TO title",
        "ALTER TABLE a ADD COLUMN more DEFAULT 7",
        "ALTER TABLE a DROP COLUMN more",
        "ALTER TABLE a RENAME TO c",
        "SELECT title, rank() OVER (ORDER BY title), group_concat(title) OVER () FROM c",
        "SELECT value FROM b, json_each(b.doc)",
        "SELECT instr('abc', 'c'), replace('aXb', 'X', '-'), trim('xxaxx', 'x'), printf('%05d', 7)",
        "SELECT * FROM v WHERE name LIKE '%x%' AND name GLOB '*' AND name REGEXP 'x' IS NULL",
        "EXPLAIN QUERY PLAN SELECT * FROM v",
        "PRAGMA table_info(b)",
        "SELECT * FROM pragma_table_info('b')",
        "PRAGMA foreign_keys",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA user_version = 3",
        "SAVEPOINT s",
        "DELETE FROM c",
        "ROLLBACK TO s",
        "RELEASE s",
        "DROP TRIGGER t",
        "DROP VIEW v",
        "DROP INDEX b_n",
        "DROP TABLE b",
        "REINDEX",
    ] {
        match place.try_run(&mut writer, sql, Vec::new()) {
            // SQLite has no REGEXP of its own.
            Err(SqlError::Statement(words)) if words.contains("REGEXP") => {}
            Err(error) => panic!("{sql}: {error}"),
            Ok(_) => {}
        }
    }
    assert_eq!(place.run(&mut writer, "PRAGMA user_version"), [[SqlValue::Integer(3)]]);
}

const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)";

#[test]
fn endless_statements_end_for_their_time() {
    let place = Place::new();
    let short =
        SqlDatabase { max_statement: Duration::from_millis(50), ..database("shop/default") };
    let mut patient = place.writer();
    place.run(&mut patient, "CREATE TABLE t (a)");
    place.run(&mut patient, "CREATE TABLE words (w)");
    let words =
        format!("INSERT INTO words {ENDLESS} SELECT hex(randomblob(50000)) FROM c LIMIT 100");
    place.run(&mut patient, &words);
    let mut writer = place.open(&short, Access::ReadWrite).unwrap();
    for sql in [
        format!("{ENDLESS} SELECT count(*) FROM c"),
        format!("{ENDLESS} SELECT count(*) FROM c a, c b"),
        format!("INSERT INTO t {ENDLESS} SELECT n FROM c WHERE n < 0"),
        format!("{ENDLESS} SELECT max(length(randomblob(1000000))) FROM c"),
        "SELECT count(*) FROM words a, words b, words c, words d, words e".to_owned(),
    ] {
        let error = place.error(&mut writer, &sql);
        let sentence = "the statement ran for longer than 50 ms (`max_statement_ms`)";
        assert_eq!(error, SqlError::Limit(sentence.to_owned()), "{sql}");
    }
    assert_eq!(place.run(&mut writer, "SELECT count(*) FROM t"), [[SqlValue::Integer(0)]]);
}

#[test]
fn a_statement_ends_with_the_cpu_budget() {
    let place = Place::new();
    let budget = Duration::from_millis(20);
    let payer = Arc::new(Payer { cpu_left: Some(budget), ..Payer::default() });
    let mut writer = place.open_for(&database("shop/default"), Access::ReadWrite, payer).unwrap();
    let error = place.error(&mut writer, &format!("{ENDLESS} SELECT count(*) FROM c"));
    let sentence = "the CPU budget of the invocation is spent (`cpu_ms`)";
    assert_eq!(error, SqlError::Limit(sentence.to_owned()));
}

#[test]
fn statements_that_want_too_much_memory_get_an_error() {
    let place = Place::new();
    let mut writer = place.writer();
    let hundred = (0..100).map(|_| "?1").collect::<Vec<_>>().join(",");
    let big = || SqlValue::Text("\n".repeat(1_000_000));
    for sql in [
        // In a sorter, an aggregate, a table of the statement, and values side by side.
        format!("{ENDLESS} SELECT n FROM c ORDER BY -n LIMIT 1 OFFSET 100000000"),
        format!("{ENDLESS} SELECT DISTINCT n FROM c LIMIT 1 OFFSET 100000000"),
        format!("{ENDLESS} SELECT json_group_array(hex(randomblob(10000))) FROM c"),
        format!("{ENDLESS} SELECT count(DISTINCT n) FROM c"),
        format!(
            "SELECT length(max({}))",
            (0..60).map(|_| "randomblob(1000000)").collect::<Vec<_>>().join(",")
        ),
        format!("SELECT length(json_array({hundred}))"),
    ] {
        let parameters = if sql.contains("?1") { vec![big()] } else { Vec::new() };
        let error = place.try_run(&mut writer, &sql, parameters).unwrap_err();
        let sentence = "the statement needs more memory than a connection to the database `shop/default` may have (16 MiB, `max_heap_mib`)";
        assert_eq!(error, SqlError::Limit(sentence.to_owned()), "{sql}");
        assert_eq!(place.run(&mut writer, "SELECT 1"), [[SqlValue::Integer(1)]]);
    }
}

#[test]
fn values_and_results_have_their_bounds() {
    let place = Place::new();
    let mut writer = place.writer();
    for sql in [
        "SELECT zeroblob(1000000000)",
        "SELECT randomblob(1000000000)",
        "SELECT printf('%.*c', 1000000000, 'x')",
        "SELECT printf('%1000000000d', 1)",
        "SELECT hex(zeroblob(2000000))",
        "SELECT replace(hex(zeroblob(100000)), '0', hex(zeroblob(100)))",
        "SELECT group_concat(hex(randomblob(100000))) FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]')",
    ] {
        let error = place.error(&mut writer, sql);
        assert_eq!(error, SqlError::Statement("string or blob too big".to_owned()), "{sql}");
    }
    let over = SqlError::Limit(
        "the rows of the statement have more bytes than a result may have (`max_result_kib`): select less, or use LIMIT"
            .to_owned(),
    );
    place.run(&mut writer, "CREATE TABLE t (a)");
    for sql in [
        "SELECT zeroblob(2000000), zeroblob(2000000), zeroblob(2000000)".to_owned(),
        format!("{ENDLESS} SELECT n FROM c"),
        format!("INSERT INTO t {ENDLESS} SELECT n FROM c LIMIT 200000 RETURNING a, a"),
    ] {
        assert_eq!(place.error(&mut writer, &sql), over, "{sql}");
    }
    // What the statement had written is taken back.
    assert_eq!(place.run(&mut writer, "SELECT count(*) FROM t"), [[SqlValue::Integer(0)]]);
}

#[test]
fn functions_take_time_in_proportion_to_their_arguments() {
    let place = Place::new();
    let mut writer = place.writer();
    let (long, half) = ("a".repeat(1_000_000), "a".repeat(500_000) + "b");
    let characters: String =
        (0..200_000_u32).filter_map(|n| char::from_u32(0x1_0000 + n)).collect();
    let last = char::from_u32(0x1_0000 + 199_999).unwrap().to_string().repeat(250_000);
    for (sql, one, other) in [
        ("SELECT instr(?1, ?2)", &long, &half),
        ("SELECT length(replace(?1, ?2, ''))", &long, &half),
        ("SELECT length(trim(?1, ?2))", &last, &characters),
    ] {
        let parameters = vec![text(one), text(other)];
        place.try_run(&mut writer, sql, parameters).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// Deep nesting of each kind ends with an error and not with the end of a thread's stack.
#[test]
fn nesting_has_its_bounds() {
    let place = Place::new();
    let mut writer = place.writer();
    let mut with = "WITH c0 AS (SELECT 1 AS n)".to_owned();
    for number in 1..8000 {
        write!(with, ", c{number} AS (SELECT n FROM c{})", number - 1).unwrap();
    }
    for sql in [
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT {}1", "- ".repeat(100_000)),
        format!("SELECT 1{}", "+1".repeat(100_000)),
        format!("SELECT {}1{}", "abs(".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(15_000)),
        format!("SELECT {}1", "CASE WHEN 1 THEN ".repeat(10_000)),
        format!("SELECT 1 IN ({})", "1 IN (".repeat(30_000)),
        format!("{with} SELECT n FROM c7999"),
        format!("SELECT json('{}')", "[".repeat(100_000)),
        format!("SELECT {}", (0..2000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
        format!("SELECT 1 FROM json_each('[]') {}", "JOIN json_each('[]') ".repeat(3000)),
        "END;".repeat(60_000),
        "x".repeat(300_000),
    ] {
        let error = place.error(&mut writer, &sql);
        let shown = &sql[..sql.len().min(60)];
        assert!(matches!(error, SqlError::Statement(_) | SqlError::Limit(_)), "{shown}: {error}");
    }
    assert_eq!(place.run(&mut writer, "SELECT 1"), [[SqlValue::Integer(1)]]);
}

#[test]
fn views_and_triggers_that_lead_to_each_other_have_their_bounds() {
    let place = Place::new();
    let mut writer = place.writer();
    place.run(&mut writer, "BEGIN");
    place.run(&mut writer, "CREATE TABLE t0 (n)");
    place.run(&mut writer, "CREATE VIEW v0 AS SELECT 1 AS n");
    let links = (1..).flat_map(|after| {
        let before = after - 1;
        [
            format!("CREATE VIEW v{after} AS SELECT n FROM v{before} UNION ALL SELECT n FROM v{before}"),
            format!("CREATE TABLE t{after} (n)"),
            format!("CREATE TRIGGER g{after} AFTER INSERT ON t{after} BEGIN INSERT INTO t{before} VALUES (new.n); END"),
        ]
    });
    let error = links.map(|sql| place.try_run(&mut writer, &sql, Vec::new())).find_map(Result::err);
    let sentence = "the database has 1000 tables, indexes, triggers and views, and may have 1000";
    assert_eq!(error, Some(SqlError::Limit(sentence.to_owned())));
    // Each view doubles the one before.
    let error = place.error(&mut writer, "SELECT n FROM v60");
    assert!(matches!(error, SqlError::Limit(_)), "{error}");
    for sql in ["SELECT n FROM v300", "INSERT INTO t300 VALUES (1)"] {
        let error = place.error(&mut writer, sql);
        assert!(error.to_string().contains("nested too deep"), "{sql}: {error}");
    }
    place.run(&mut writer, "ROLLBACK");
    // A trigger that fires itself.
    place.run(&mut writer, "CREATE TABLE again (n)");
    place.run(&mut writer, "PRAGMA recursive_triggers = ON");
    let trigger =
        "CREATE TRIGGER once AFTER INSERT ON again BEGIN INSERT INTO again VALUES (new.n + 1); END";
    place.run(&mut writer, trigger);
    let error = place.error(&mut writer, "INSERT INTO again VALUES (1)");
    assert!(error.to_string().contains("nested too deep"), "{error}");
}
