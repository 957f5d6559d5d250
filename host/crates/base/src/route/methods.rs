//! The methods of a route.

use http::Method;

/// The methods of a route.
///
/// A route without `methods` takes every method, `OPTIONS` as well: a function that does its own
/// CORS, and a component that was written for another host, have to see it. Where the function has
/// `cors`, the host answers `OPTIONS`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Methods {
    /// Every method, `OPTIONS` too.
    Every,
    /// Every method but `OPTIONS`, which is answered from the routes.
    Any,
    /// These methods: at least one, each once, in the order of the manifest, never `CONNECT`. `GET`
    /// brings `HEAD` with it, and `OPTIONS` is answered from the routes unless it is among
    /// them.
    Only(#[serde(with = "crate::text_form::list")] Vec<Method>),
}

impl Methods {
    /// Whether `method` is one of them.
    pub fn contains(&self, method: &Method) -> bool {
        match self {
            Methods::Every => true,
            Methods::Any => *method != Method::OPTIONS,
            Methods::Only(methods) => methods.contains(method),
        }
    }

    /// Whether a request with `method` may be answered by the route: `HEAD` also where it takes
    /// `GET`.
    pub fn answers(&self, method: &Method) -> bool {
        self.contains(method) || (*method == Method::HEAD && self.contains(&Method::GET))
    }

    /// Whether some method is in both.
    pub fn overlap(&self, other: &Methods) -> bool {
        match (self, other) {
            (Methods::Only(methods), other) | (other, Methods::Only(methods)) => {
                methods.iter().any(|method| other.contains(method))
            }
            (Methods::Every | Methods::Any, Methods::Every | Methods::Any) => true,
        }
    }

    /// Whether some request may be answered by both.
    #[cfg(test)]
    pub(crate) fn compete(&self, other: &Methods) -> bool {
        self.overlap(other) || (self.answers(&Method::HEAD) && other.answers(&Method::HEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_methods_are_in_both() {
        let only = |names: &[Method]| Methods::Only(names.to_vec());
        let (get, head) = (only(&[Method::GET]), only(&[Method::HEAD, Method::PUT]));
        let options = only(&[Method::OPTIONS]);
        for (one, other, overlap, compete) in [
            (&get, &get, true, true),
            (&get, &head, false, true),
            (&head, &options, false, false),
            (&Methods::Any, &get, true, true),
            (&Methods::Any, &Methods::Every, true, true),
            (&Methods::Any, &options, false, false),
            (&Methods::Every, &options, true, true),
        ] {
            assert_eq!(one.overlap(other), overlap, "{one:?} {other:?}");
            assert_eq!(other.overlap(one), overlap, "{other:?} {one:?}");
            assert_eq!(one.compete(other), compete, "{one:?} {other:?}");
            assert_eq!(other.compete(one), compete, "{other:?} {one:?}");
        }
        assert!(get.answers(&Method::HEAD) && !get.contains(&Method::HEAD));
        assert!(
            !Methods::Any.answers(&Method::OPTIONS) && Methods::Every.answers(&Method::OPTIONS)
        );
    }
}
