//! spin:sqlite@3.0.0, the SQL databases of Spin 3.

use lacewing_store::sql::{SqlRows, SqlValue};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{
    Connection, Databases, Failure, HasDatabases, StoreData, databases,
    dialect::{connection_calls, conversions, count_calls},
};
use bindings::spin::sqlite::sqlite::{self, Error, QueryResult, RowResult, Value};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin-sqlite-3.0.wit",
        world: "sqlite-client",
        imports: { default: async | trappable },
        with: { "spin:sqlite/sqlite.connection": super::super::Connection },
    });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    sqlite::add_to_linker::<T, HasDatabases>(linker, databases)
}

impl sqlite::Host for Databases<'_> {}

impl sqlite::HostConnection for Databases<'_> {
    connection_calls!();
    count_calls!();
}

conversions!();
