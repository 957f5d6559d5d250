//! The calls that the versions of Spin's interface share. Each version has traits and types of its
//! own, so the calls are macros.

use wasmtime::{Result, component::Resource};

use super::{Connection, Databases, Failure};

impl Databases<'_> {
    /// Opens a connection to a database.
    pub(super) async fn connect(
        &mut self,
        name: &str,
    ) -> Result<Result<Resource<Connection>, Failure>> {
        let connected = match self.sql.connecting(name) {
            Ok(connecting) => connecting.connect().await,
            Err(failure) => Err(failure),
        };
        Ok(match connected {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(failure) => Err(failure),
        })
    }

    /// The connection behind a handle.
    pub(super) fn connection(&self, handle: &Resource<Connection>) -> Result<Connection> {
        Ok(self.table.get(handle)?.clone())
    }
}

/// The calls of all versions, and the end of a handle.
macro_rules! connection_calls {
    () => {
        async fn open(&mut self, database: String) -> Result<Result<Resource<Connection>, Error>> {
            Ok(self.connect(&database).await?.map_err(Error::from))
        }

        async fn execute(
            &mut self,
            connection: Resource<Connection>,
            statement: String,
            parameters: Vec<Value>,
        ) -> Result<Result<QueryResult, Error>> {
            let connection = self.connection(&connection)?;
            let parameters = parameters.into_iter().map(SqlValue::from).collect();
            let rows = connection.execute_alone(statement, parameters).await;
            Ok(rows.map(QueryResult::from).map_err(Error::from))
        }

        async fn drop(&mut self, connection: Resource<Connection>) -> Result<()> {
            self.table.delete(connection)?;
            Ok(())
        }
    };
}

/// The calls of version 3.
macro_rules! count_calls {
    () => {
        async fn last_insert_rowid(&mut self, connection: Resource<Connection>) -> Result<i64> {
            Ok(self.connection(&connection)?.last_insert_rowid())
        }

        async fn changes(&mut self, connection: Resource<Connection>) -> Result<u64> {
            Ok(self.connection(&connection)?.changes())
        }
    };
}

/// The types of an interface, from those of the store and back.
macro_rules! conversions {
    () => {
        impl From<Value> for SqlValue {
            fn from(value: Value) -> SqlValue {
                match value {
                    Value::Null => SqlValue::Null,
                    Value::Integer(number) => SqlValue::Integer(number),
                    Value::Real(number) => SqlValue::Real(number),
                    Value::Text(text) => SqlValue::Text(text),
                    Value::Blob(blob) => SqlValue::Blob(blob),
                }
            }
        }

        impl From<SqlValue> for Value {
            fn from(value: SqlValue) -> Value {
                match value {
                    SqlValue::Null => Value::Null,
                    SqlValue::Integer(number) => Value::Integer(number),
                    SqlValue::Real(number) => Value::Real(number),
                    SqlValue::Text(text) => Value::Text(text),
                    SqlValue::Blob(blob) => Value::Blob(blob),
                }
            }
        }

        impl From<SqlRows> for QueryResult {
            fn from(SqlRows { columns, rows }: SqlRows) -> QueryResult {
                QueryResult { columns, rows: row_results(rows) }
            }
        }

        fn row_results(rows: Vec<Vec<SqlValue>>) -> Vec<RowResult> {
            let row = |row: Vec<SqlValue>| RowResult {
                values: row.into_iter().map(Value::from).collect(),
            };
            rows.into_iter().map(row).collect()
        }

        impl From<Failure> for Error {
            fn from(failure: Failure) -> Error {
                match failure {
                    Failure::NotGranted => Error::AccessDenied,
                    Failure::Full => Error::DatabaseFull,
                    Failure::Other(text) => Error::Io(text),
                }
            }
        }
    };
}

pub(super) use {connection_calls, conversions, count_calls};
