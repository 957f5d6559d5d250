//! spin:key-value@3.0.0, the key-value store of Spin 4: async functions, and keys as a stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use lacewing_base::{Access, KvStore};
use lacewing_store::{
    Transaction,
    kv::{Condition, KvError, MAX_KEYS},
};
use tokio::sync::{mpsc, oneshot};
use wasmtime::{
    Result, StoreContextMut,
    component::{
        Accessor, AccessorTask, Destination, FutureReader, Linker, Resource, StreamProducer,
        StreamReader, StreamResult, VecBuffer,
    },
};

use super::{Bucket, Failure, FailureKind, HasStores, StoreData, Stores, spin::spin_error, stores};
use bindings::spin::key_value::key_value::{self, Error};

#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/spin-key-value-3.wit",
        world: "imports",
        imports: { default: trappable },
        with: { "spin:key-value/key-value.store": super::super::Bucket },
    });
}

pub(super) fn link<T: StoreData>(linker: &mut Linker<T>) -> Result<()> {
    key_value::add_to_linker::<T, HasStores>(linker, stores)
}

/// The name of the store behind a handle.
fn name<T: StoreData>(
    accessor: &Accessor<T, HasStores>,
    bucket: &Resource<Bucket>,
) -> Result<String> {
    accessor.with(|mut access| Ok(access.get().table.get(bucket)?.name.clone()))
}

/// Does a step in the transaction of the invocation, or in one of its own. The guest goes on
/// meanwhile, so its state is not borrowed while the disk is waited for.
async fn step<T: StoreData, R>(
    accessor: &Accessor<T, HasStores>,
    store: &str,
    needed: Access,
    mut step: impl FnMut(&mut Transaction, &Arc<KvStore>) -> Result<R, KvError>,
) -> Result<R, Failure> {
    let (store, alone, is_open) = accessor.with(|mut access| {
        let Stores { stores, .. } = access.get();
        let store = stores.store(store, needed)?;
        Ok::<_, Failure>((store, stores.alone()?, stores.is_open()))
    })?;
    if !is_open {
        alone.open().await?;
    }
    let in_invocation = accessor.with(|mut access| {
        let transaction = access.get().stores.transaction.as_mut();
        transaction.map(|transaction| step(transaction, &store))
    });
    match in_invocation {
        Some(done) => Ok(done?),
        None => alone.step(|transaction| step(transaction, &store)).await,
    }
}

impl key_value::Host for Stores<'_> {}

impl key_value::HostStore for Stores<'_> {
    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl<T: StoreData> key_value::HostStoreWithStore<T> for HasStores {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> Result<Result<Resource<Bucket>, Error>> {
        let opened = accessor.with(|mut access| access.get().open_bucket(label))?;
        Ok(opened.map_err(Error::from))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<Option<Vec<u8>>, Error>> {
        let name = name(accessor, &bucket)?;
        let found = step(accessor, &name, Access::Read, |one, store| one.get(store, &key)).await;
        Ok(found.map(|found| found.map(|entry| entry.value)).map_err(Error::from))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Result<(), Error>> {
        let name = name(accessor, &bucket)?;
        let set = step(accessor, &name, Access::ReadWrite, |one, store| {
            one.set(store, &key, value.clone(), None, Condition::Any)
        });
        Ok(set.await.map(drop).map_err(Error::from))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<(), Error>> {
        let name = name(accessor, &bucket)?;
        let deleted = step(accessor, &name, Access::ReadWrite, |one, store| {
            one.delete(store, &key, Condition::Any)
        });
        Ok(deleted.await.map(drop).map_err(Error::from))
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Result<bool, Error>> {
        let name = name(accessor, &bucket)?;
        let found = step(accessor, &name, Access::Read, |one, store| one.get(store, &key)).await;
        Ok(found.map(|found| found.is_some()).map_err(Error::from))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
    ) -> Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let name = name(accessor, &bucket)?;
        let (pages, listed) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        accessor.spawn(Listing { name, pages, end })?;
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, ListedKeys(listed))?;
            Ok((keys, FutureReader::new(&mut access, ended)?))
        })
    }
}

/// The listing of a store for a stream of keys: a page is read when the guest has taken the one
/// before.
struct Listing {
    name: String,
    pages: mpsc::Sender<Vec<String>>,
    end: oneshot::Sender<Result<(), Error>>,
}

impl<T: StoreData> AccessorTask<T, HasStores> for Listing {
    async fn run(self, accessor: &Accessor<T, HasStores>) -> Result<()> {
        let Listing { name, pages, end } = self;
        let listed = list(accessor, &name, &pages).await;
        // The stream ends before its result is there.
        drop(pages);
        // A guest that has dropped the future does not want the result.
        let _ = end.send(listed.map_err(Error::from));
        Ok(())
    }
}

async fn list<T: StoreData>(
    accessor: &Accessor<T, HasStores>,
    name: &str,
    pages: &mpsc::Sender<Vec<String>>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        // A guest that has dropped the stream wants no more keys.
        let Ok(place) = pages.reserve().await else { return Ok(()) };
        let page = step(accessor, name, Access::Read, |one, store| {
            one.list(store, "", after.as_deref(), MAX_KEYS)
        });
        let page = page.await?;
        place.send(page.keys);
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// The pages of a listing, as a stream of keys.
struct ListedKeys(mpsc::Receiver<Vec<String>>);

impl<D> StreamProducer<D> for ListedKeys {
    type Item = String;
    type Buffer = VecBuffer<String>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: StoreContextMut<'a, D>,
        mut destination: Destination<'a, String, VecBuffer<String>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(keys)) => {
                destination.set_buffer(keys.into());
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

spin_error!();
