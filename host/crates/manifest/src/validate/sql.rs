//! The validation of SQL databases.

use std::time::Duration;

use lacewing_base::{SqlDatabase, SqlGrant, name::AppName};

use super::super::Written;
use super::super::findings::Findings;
use super::super::raw::RawSql;
use super::super::spanned::{At, Entries};
use super::stores::{DeclaredStores, all, number};

const KIB: u64 = 1024;

impl DeclaredStores<SqlDatabase> {
    pub(super) fn sql(
        raw: &Entries<RawSql>,
        app: Option<&AppName>,
        findings: &mut Findings,
    ) -> DeclaredStores<SqlDatabase> {
        let limits = |raw: &RawSql, findings: &mut Findings| {
            [
                number("max_mib", &raw.max_mib, 1..=16_777_216, findings),
                number("max_statement_ms", &raw.max_statement_ms, 1..=900_000, findings),
                number("max_result_kib", &raw.max_result_kib, 1..=65_536, findings),
                number("max_heap_mib", &raw.max_heap_mib, 2..=1024, findings),
            ]
        };
        let read =
            |app: &AppName, name: &str, [mib, statement_ms, result_kib, heap_mib]: [_; 4]| {
                let known = SqlDatabase::new(app, name);
                let bytes = |number: Option<u64>, unit, known| number.map_or(known, |n| n * unit);
                SqlDatabase {
                    max_bytes: bytes(mib, KIB * KIB, known.max_bytes),
                    max_statement: statement_ms.map_or(known.max_statement, Duration::from_millis),
                    max_result_bytes: bytes(result_kib, KIB, known.max_result_bytes),
                    max_heap_bytes: bytes(heap_mib, KIB * KIB, known.max_heap_bytes),
                    ..known
                }
            };
        DeclaredStores {
            kind: "SQL database",
            table: "sql",
            all: all(raw, app, findings, limits, read),
        }
    }

    /// The grants of a function, for databases that are there.
    pub(super) fn grants(
        &self,
        raw: &Entries<At<String>>,
        findings: &mut Findings,
    ) -> Vec<Written<SqlGrant>> {
        self.granted(raw, findings, |name, database, access| SqlGrant { name, database, access })
    }
}
