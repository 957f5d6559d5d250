//! fermyon:spin/sqlite@2.0.0, the SQL databases of Spin 2.

use lacewing_store::sql::{SqlRows, SqlValue};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{
    Connection, Databases, Failure, HasDatabases, StoreData, databases,
    dialect::{connection_calls, conversions},
};
use bindings::fermyon::spin::sqlite::{self, Error, QueryResult, RowResult, Value};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin.wit",
        world: "sqlite-client",
        imports: { default: async | trappable },
        with: { "fermyon:spin/sqlite.connection": super::super::Connection },
    });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    sqlite::add_to_linker::<T, HasDatabases>(linker, databases)
}

impl sqlite::Host for Databases<'_> {}

impl sqlite::HostConnection for Databases<'_> {
    connection_calls!();
}

conversions!();
