//! The outcome of an invocation, and of a request that never became one.
//!
//! The word is the same everywhere: in the `lacewing-outcome` header, in the metric's label, in the
//! log's field and in the problem document's type. The sandbox classifies faults. The HTTP status
//! of each outcome is chosen here, in [`Outcome::http_status_where`]; the ingress refines it where
//! a request is at fault (413, 431, ...).

use std::fmt;

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// How an invocation, or a request that did not become one, ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Outcome {
            $($(#[$doc])* $variant,)*
        }

        impl Outcome {
            /// Every outcome, in the order of declaration: `ALL[o as usize] == o`.
            pub const ALL: &'static [Outcome] = &[$(Outcome::$variant),*];

            /// The one word for this outcome, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Outcome::$variant => $word,)*
                }
            }
        }
    };
}

outcomes! {
    /// The function answered. Its own status may still be an error's.
    Ok = "ok",
    /// No route matches, or none with this method.
    NoRoute = "no_route",
    /// The request is malformed or violates a declared limit on input.
    BadRequest = "bad_request",
    /// The caller has no credentials.
    Unauthorized = "unauthorized",
    /// The caller may not do this.
    Forbidden = "forbidden",
    /// The function's or the tenant's concurrency or rate is used up.
    Throttled = "throttled",
    /// The host is full, or draining.
    LoadShed = "load_shed",
    /// The invocation's transaction lost to others again and again.
    Conflict = "conflict",
    /// The state of the tenant cannot be read or written, or has no room.
    StoreUnavailable = "store_unavailable",
    /// The CPU budget was spent.
    CpuExceeded = "cpu_exceeded",
    /// The fuel was spent.
    FuelExhausted = "fuel_exhausted",
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded",
    /// A memory or table limit refused a growth and the guest did not survive it.
    MemoryExceeded = "memory_exceeded",
    /// The guest trapped.
    Trap = "trap",
    /// The guest answered with something that is no HTTP response, with one over its limits, or
    /// with one that it did not finish.
    BadResponse = "bad_response",
    /// The guest returned without a response.
    NoResponse = "no_response",
    /// The client went away, or the host closed its connection, and the guest was stopped.
    Canceled = "canceled",
    /// A bug of the host.
    Internal = "internal",
}

impl Outcome {
    /// How many outcomes there are.
    pub const COUNT: usize = Outcome::ALL.len();

    /// The HTTP status that answers it, in the one place where one is chosen. `None` where the
    /// function's own is answered, or no client is there to read an answer. `no_route` and
    /// `bad_request` have finer ones for what exactly was wrong with the request. `store_is_full`
    /// tells a store without room (507, RFC 4918) from one that cannot be used.
    pub const fn http_status_where(self, store_is_full: bool) -> Option<u16> {
        match self {
            Outcome::Ok | Outcome::Canceled => None,
            Outcome::NoRoute => Some(404),
            Outcome::BadRequest => Some(400),
            Outcome::Unauthorized => Some(401),
            Outcome::Forbidden => Some(403),
            Outcome::Throttled => Some(429),
            Outcome::Conflict => Some(409),
            Outcome::LoadShed => Some(503),
            Outcome::StoreUnavailable if store_is_full => Some(507),
            Outcome::StoreUnavailable => Some(503),
            Outcome::CpuExceeded | Outcome::FuelExhausted | Outcome::DeadlineExceeded => Some(504),
            Outcome::MemoryExceeded
            | Outcome::Trap
            | Outcome::BadResponse
            | Outcome::NoResponse => Some(502),
            Outcome::Internal => Some(500),
        }
    }

    /// As [`Outcome::http_status_where`], where no store is known to be full.
    pub const fn http_status(self) -> Option<u16> {
        self.http_status_where(false)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_indexed_by_discriminant() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
