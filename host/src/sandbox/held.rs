//! What the host holds behind a guest's handles, counted.
//!
//! A handle is small, but a map of header fields is as large as the guest makes it, up to its own limit, a body that is not sent has what
//! the guest wrote, up to two pieces, and there may be as many as there are handles: together far more than the guest's memory. They are
//! counted now and then, when the guest calls the host: the more there are, the more calls there are between two counts, so that
//! counting costs each call a few entries of the table.

use std::any::Any;

use http::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    FieldMap,
    p2::types::{HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse},
    p3,
};

use crate::capability::egress::BODY_PIECE_BYTES;

/// What a handle takes by itself, in bytes: its place in the table, and the resource.
const HANDLE_BYTES: usize = 256;

/// What a header field takes besides its name and value, in bytes: its places in the map's index and in its list.
const FIELD_BYTES: usize = 160;

/// Calls of the host before the first count, and between two counts at least. Most invocations make fewer.
const CALLS: u32 = 16;

/// Handles for each of which there is one call more until the next count.
const HANDLES_PER_CALL: u32 = 8;

/// When to count.
#[derive(Debug)]
pub(super) struct Counting {
    calls_left: u32,
}

impl Default for Counting {
    fn default() -> Counting {
        Counting { calls_left: CALLS }
    }
}

impl Counting {
    /// To be called at each call of the host that may make it hold more; gives the bytes that it holds, when they are counted.
    pub(super) fn count(&mut self, table: &mut ResourceTable) -> Option<usize> {
        self.calls_left -= 1;
        if self.calls_left > 0 {
            return None;
        }
        let (mut handles, mut held_bytes) = (0_u32, 0_usize);
        for resource in table.iter_mut() {
            handles += 1;
            held_bytes += HANDLE_BYTES + behind(resource);
        }
        self.calls_left = CALLS.max(handles / HANDLES_PER_CALL);
        Some(held_bytes)
    }
}

/// What is held behind a handle, in bytes, where it is of a kind that a guest can make, or have others make, without number.
fn behind(resource: &dyn Any) -> usize {
    let body = |is_there: bool| if is_there { 2 * BODY_PIECE_BYTES } else { 0 };
    if let Some(fields) = resource.downcast_ref::<FieldMap>() {
        bytes(fields)
    } else if let Some(request) = resource.downcast_ref::<HostOutgoingRequest>() {
        bytes(&request.headers) + body(request.body.is_some())
    } else if let Some(response) = resource.downcast_ref::<HostOutgoingResponse>() {
        bytes(&response.headers) + body(response.body.is_some())
    } else if let Some(response) = resource.downcast_ref::<HostIncomingResponse>() {
        bytes(&response.headers)
    } else if let Some(request) = resource.downcast_ref::<p3::Request>() {
        bytes(&request.headers)
    } else {
        resource.downcast_ref::<p3::Response>().map_or(0, |response| bytes(&response.headers))
    }
}

fn bytes(fields: &HeaderMap) -> usize {
    let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len());
    bytes.sum::<usize>() + fields.len() * FIELD_BYTES
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use http_body_util::BodyExt;

    use super::*;

    fn map(value_bytes: usize) -> FieldMap {
        let value = HeaderValue::try_from(vec![b'x'; value_bytes]).unwrap();
        let mut map = FieldMap::new_mutable(1 << 20);
        map.append_raw(HeaderName::from_static("x-long"), value).unwrap();
        map
    }

    #[test]
    fn maps_are_counted_wherever_they_are() {
        let mut table = ResourceTable::new();
        table.push(map(10_000)).unwrap();
        let response = HostIncomingResponse { status: 200, headers: map(20_000), body: None };
        table.push(response).unwrap();
        table.push("something else").unwrap();
        let mut counting = Counting::default();
        for _ in 1..CALLS {
            assert_eq!(counting.count(&mut table), None);
        }
        let each = HANDLE_BYTES + FIELD_BYTES + "x-long".len();
        assert_eq!(counting.count(&mut table), Some(30_000 + 2 * each + HANDLE_BYTES));
    }

    #[test]
    fn a_body_that_is_not_sent_counts_what_may_be_in_it() {
        let body =
            || Some(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync());
        let response =
            |body| HostOutgoingResponse { status: 200.try_into().unwrap(), headers: map(0), body };
        let mut table = ResourceTable::new();
        table.push(response(None)).unwrap();
        let without = Counting { calls_left: 1 }.count(&mut table).unwrap();
        table.push(response(body())).unwrap();
        let with = Counting { calls_left: 1 }.count(&mut table).unwrap();
        assert_eq!(with, 2 * without + 2 * BODY_PIECE_BYTES);
    }

    #[test]
    fn many_are_counted_less_often() {
        let mut table = ResourceTable::new();
        for _ in 0..800 {
            table.push(()).unwrap();
        }
        let mut counting = Counting { calls_left: 1 };
        assert_eq!(counting.count(&mut table), Some(800 * HANDLE_BYTES));
        assert_eq!((1..100).find_map(|_| counting.count(&mut table)), None);
        assert!(counting.count(&mut table).is_some());
    }
}
