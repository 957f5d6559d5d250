//! The subject of a log line, a record or a metric.

use std::{fmt, net::IpAddr, sync::Arc};

use http::{Method, Uri};
use lacewing_base::{
    TenantAccount,
    name::{AppName, FunctionName, TenantName},
};
use serde::{Serialize, Serializer};

use crate::text;

/// A revision of a function.
#[derive(Debug, Serialize)]
pub struct Origin {
    /// The account of the tenant.
    #[serde(rename = "tenant", serialize_with = "serialize_name")]
    pub account: Arc<TenantAccount>,
    /// The app of the function.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The revision's identifier.
    pub revision: Arc<str>,
}

impl Origin {
    /// The origin of everything that this revision says.
    pub fn new(
        account: Arc<TenantAccount>,
        app: AppName,
        function: FunctionName,
        revision: Arc<str>,
    ) -> Origin {
        Origin { account, app, function, revision }
    }

    /// The tenant that is charged.
    pub fn tenant(&self) -> &TenantName {
        self.account.name()
    }
}

fn serialize_name<S: Serializer>(
    account: &TenantAccount,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    account.name().serialize(serializer)
}

impl fmt::Display for Origin {
    /// `tenant/app/function@revision`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tenant, Origin { app, function, revision, .. }) = (self.tenant(), self);
        let mut escaped = String::new();
        text::push_escaped(&mut escaped, revision);
        write!(f, "{tenant}/{app}/{function}@{escaped}")
    }
}

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident($number:ty) as $format:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

hex_ids! {
    /// One invocation. Displays as 32 lower-case hexadecimal digits.
    InvocationId(u128) as "{:032x}",
    /// A W3C trace. Displays as 32 lower-case hexadecimal digits.
    TraceId(u128) as "{:032x}",
    /// A span of a W3C trace. Displays as 16 lower-case hexadecimal digits.
    SpanId(u64) as "{:016x}",
}

/// The head of the request that started an invocation.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// Its target. Logs show the path only: queries hold secrets.
    pub uri: Uri,
}

/// The identity that every line and record of one invocation carries.
#[derive(Clone, Debug)]
pub struct Context {
    /// The revision that runs.
    pub origin: Arc<Origin>,
    /// The invocation.
    pub invocation: InvocationId,
    /// The request's id, from the client or made by the host. None where no request started it.
    pub request_id: Option<Arc<str>>,
    /// The trace that the invocation is part of.
    pub trace_id: Option<TraceId>,
    /// The invocation's span in that trace: the parent of what the function does.
    pub span_id: Option<SpanId>,
    /// The address of the client that asked, as far as proxies are trusted. None where no request
    /// started it.
    pub client: Option<IpAddr>,
    /// The request. None where no request started it.
    pub head: Option<RequestHead>,
}

impl Context {
    /// The identity of an invocation that no client asked for.
    pub fn new(origin: Arc<Origin>, invocation: InvocationId) -> Context {
        Context {
            origin,
            invocation,
            request_id: None,
            trace_id: None,
            span_id: None,
            client: None,
            head: None,
        }
    }
}

#[cfg(test)]
pub(super) fn example_context() -> Context {
    let origin = Origin {
        account: TenantAccount::alone("acme"),
        app: "shop".parse().unwrap(),
        function: "cart".parse().unwrap(),
        revision: "r7".into(),
    };
    Context {
        request_id: Some("req-1".into()),
        trace_id: Some(TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736)),
        span_id: Some(SpanId(0x00f0_67aa_0ba9_02b7)),
        client: Some([192, 0, 2, 7].into()),
        head: Some(RequestHead { method: Method::GET, uri: "/a?b".parse().unwrap() }),
        ..Context::new(Arc::new(origin), InvocationId(0xabc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_path_with_a_revision() {
        assert_eq!(example_context().origin.to_string(), "acme/shop/cart@r7");
    }

    #[test]
    fn ids_are_fixed_width_hexadecimal() {
        assert_eq!(InvocationId(0xabc).to_string(), "00000000000000000000000000000abc");
        assert_eq!(
            example_context().trace_id.unwrap().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(SpanId(0xabc).to_string(), "0000000000000abc");
    }
}
