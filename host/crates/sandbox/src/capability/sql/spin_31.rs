//! spin:sqlite@3.1.0, with the calls that are tasks of the component model.
//!
//! Rows come as a stream. The statement has run to its end before the first row leaves: the bound
//! of a result holds for the stream as well, and no guest that reads slowly holds a thread.

use lacewing_store::sql::{SqlRows, SqlValue};
use wasmtime::{
    Result,
    component::{Accessor, FutureReader, Linker, Resource, StreamReader},
};

use super::{
    Connection, Databases, Failure, HasDatabases, StoreData, databases,
    dialect::{connection_calls, conversions, count_calls},
};
use bindings::spin::sqlite::sqlite::{self, Error, QueryResult, RowResult, Value};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin-sqlite-3.1.wit",
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

/// The rows of a statement, and its end.
type Streamed = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

impl<T: StoreData> sqlite::HostConnectionWithStore<T> for HasDatabases {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        database: String,
    ) -> Result<Result<Resource<Connection>, Error>> {
        let connecting = accessor.with(|mut access| access.get().sql.connecting(&database));
        let connected = match connecting {
            Ok(connecting) => connecting.connect().await,
            Err(failure) => Err(failure),
        };
        match connected {
            Ok(connection) => {
                Ok(Ok(accessor.with(|mut access| access.get().table.push(connection))?))
            }
            Err(failure) => Ok(Err(failure.into())),
        }
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<Result<Streamed, Error>> {
        let connection = accessor.with(|mut access| access.get().connection(&connection))?;
        let parameters = parameters.into_iter().map(SqlValue::from).collect();
        let SqlRows { columns, rows } = match connection.execute(statement, parameters).await {
            Ok(rows) => rows,
            Err(failure) => return Ok(Err(failure.into())),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, row_results(rows))?;
            let end = FutureReader::new(&mut access, async { Ok::<_, wasmtime::Error>(Ok(())) })?;
            Ok(Ok((columns, rows, end)))
        })
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
    ) -> Result<i64> {
        let connection = accessor.with(|mut access| access.get().connection(&connection))?;
        Ok(connection.last_insert_rowid())
    }

    async fn changes_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
    ) -> Result<u64> {
        let connection = accessor.with(|mut access| access.get().connection(&connection))?;
        Ok(connection.changes())
    }
}

conversions!();
