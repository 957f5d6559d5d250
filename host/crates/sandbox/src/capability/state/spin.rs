//! fermyon:spin/key-value@2.0.0, the key-value store of Spin 2.

use lacewing_store::kv::{Condition, MAX_KEYS};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};

use super::{
    Bucket, Failure, FailureKind, HasStores, StoreData, Stores, dialect::bucket_calls, stores,
};
use bindings::fermyon::spin::key_value::{self, Error};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin.wit",
        world: "key-value-client",
        imports: { default: async | trappable },
        with: { "fermyon:spin/key-value.store": super::super::Bucket },
    });
}

/// The most keys that one call lists: it returns all at once, and nothing interrupts it.
const LISTED: usize = 10 * MAX_KEYS;

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    key_value::add_to_linker::<T, HasStores>(linker, stores)
}

impl key_value::Host for Stores<'_> {}

impl key_value::HostStore for Stores<'_> {
    async fn open(&mut self, label: String) -> Result<Result<Resource<Bucket>, Error>> {
        Ok(self.open_bucket(label)?.map_err(Error::from))
    }

    bucket_calls!();

    async fn get_keys(&mut self, bucket: Resource<Bucket>) -> Result<Result<Vec<String>, Error>> {
        let Bucket { name } = self.table.get(&bucket)?;
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let mut page = match self.stores.list(name, "", after.as_deref(), MAX_KEYS).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure.into())),
            };
            keys.append(&mut page.keys);
            after = page.next;
            if after.is_none() {
                return Ok(Ok(keys));
            }
            if keys.len() >= LISTED {
                let text = format!("the store has over {LISTED} keys, which one call cannot list");
                return Ok(Err(Error::Other(text)));
            }
        }
    }
}

/// The error of an interface of Spin, for which a store that is not granted is one that may be
/// there.
macro_rules! spin_error {
    () => {
        impl From<Failure> for Error {
            fn from(Failure { kind, text }: Failure) -> Error {
                match kind {
                    FailureKind::NotGranted | FailureKind::ReadOnly => Error::AccessDenied,
                    FailureKind::Invalid
                    | FailureKind::Limit
                    | FailureKind::Conflict
                    | FailureKind::Unavailable => Error::Other(text),
                }
            }
        }
    };
}

pub(super) use spin_error;

spin_error!();
