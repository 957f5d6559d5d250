//! The subject of a log line, a record or a metric.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use lacewing_base::name::{AppName, FunctionName, TenantName};

use crate::text;

/// A revision of a function, with its place in a log line, which is rendered once, for the first line: a host may hold many
/// that never say anything.
#[derive(Debug)]
pub struct Origin {
    /// The tenant that is charged.
    pub tenant: TenantName,
    /// The revision of the function.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// The revision's identifier.
    pub revision: Arc<str>,
    /// `"tenant":"…","app":"…","function":"…","revision":"…"`
    json: OnceLock<Box<str>>,
}

impl Origin {
    /// The origin of everything that this revision says.
    pub fn new(
        tenant: TenantName,
        app: AppName,
        function: FunctionName,
        revision: Arc<str>,
    ) -> Origin {
        Origin { tenant, app, function, revision, json: OnceLock::new() }
    }

    pub(super) fn json_fields(&self) -> &str {
        self.json.get_or_init(|| self.to_json().into())
    }

    fn to_json(&self) -> String {
        let mut json = String::new();
        let pairs = [
            ("tenant", self.tenant.as_str()),
            ("app", self.app.as_str()),
            ("function", self.function.as_str()),
            ("revision", &self.revision),
        ];
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(json, "{comma}\"{key}\":");
            text::push_json_string(&mut json, value);
        }
        json
    }
}

impl fmt::Display for Origin {
    /// `tenant/app/function@revision`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { tenant, app, function, revision, .. } = self;
        let mut escaped = String::new();
        text::push_escaped(&mut escaped, revision);
        write!(f, "{tenant}/{app}/{function}@{escaped}")
    }
}

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    )*};
}

hex_ids! {
    /// One invocation. Displays as 32 lower-case hexadecimal digits.
    InvocationId,
    /// A W3C trace. Displays as 32 lower-case hexadecimal digits.
    TraceId,
}

/// A span of a W3C trace. Displays as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
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
    /// The address of the client that asked, as far as proxies are trusted. None where no request started it.
    pub client: Option<IpAddr>,
}

#[cfg(test)]
pub(super) fn example_context() -> Context {
    let origin = Origin::new(
        "acme".parse().unwrap(),
        "shop".parse().unwrap(),
        "cart".parse().unwrap(),
        "r7".into(),
    );
    Context {
        origin: Arc::new(origin),
        invocation: InvocationId(0xabc),
        request_id: Some("req-1".into()),
        trace_id: Some(TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736)),
        span_id: Some(SpanId(0x00f0_67aa_0ba9_02b7)),
        client: Some([192, 0, 2, 7].into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_rendered_once() {
        let context = example_context();
        assert_eq!(context.origin.to_string(), "acme/shop/cart@r7");
        assert_eq!(
            context.origin.json_fields(),
            r#""tenant":"acme","app":"shop","function":"cart","revision":"r7""#
        );
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
