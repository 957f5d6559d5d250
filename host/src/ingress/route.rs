//! Routes: from a request's host name, method and path to what serves it.
//!
//! A [`Router`] is built whole, never changed, and swapped whole by its owner. What wins is decided in this order:
//!
//! 1. **Host.** The narrowest pattern that covers the name: the exact name, then `*.` wildcards from the longest
//!    to the shortest, then any host. Where nothing there matches the path and method, the next wider pattern
//!    is asked, but only for routes of an owner that also has routes at the narrowest: a name that one owner has
//!    claimed is never answered by another owner's wildcard.
//! 2. **Method and path.** Among the routes that serve the method: segment by segment, a literal over a parameter
//!    over a wildcard. A route for `GET` serves `HEAD` as well, unless a route of the same shape names it.
//!
//! Paths are compared in normal form, case-sensitively, and nothing about them is guessed: `/users` and `/users/`
//! are two paths, empty segments count, neither a parameter nor a wildcard is ever empty, and a path with a
//! segment `.` or `..`, even encoded, is refused.

mod host;
mod path;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use http::Method;

pub(crate) use self::host::{host_key, port_of};
pub use self::{
    host::{BadHost, HostPattern},
    path::{BadPath, BadPattern},
};
use self::{
    path::Pattern,
    table::{Candidate, Clash, Table},
};

/// The methods that a route serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Every method, except that `OPTIONS` is answered from the routes.
    Any,
    /// Every method, `OPTIONS` too: for a function that answers it itself.
    Every,
    /// These. `GET` brings `HEAD` with it.
    These(Vec<Method>),
}

/// What selects a route.
#[derive(Clone, Debug)]
pub struct RouteKey {
    /// Whose route it is. Routes of one owner are alternatives of each other under a host name; those of another
    /// owner never are.
    pub owner: Arc<str>,
    /// The host names that it is served under. None is the same as any host.
    pub hosts: Vec<HostPattern>,
    /// The methods that it serves.
    pub methods: Methods,
    /// Its path: literal segments, `{name}` for one segment, and `{*name}` at the end for all that is left.
    pub path: String,
}

/// One route of a [`Router`].
#[derive(Debug)]
pub struct Route<T> {
    pattern: String,
    names: Box<[String]>,
    wildcard: bool,
    value: T,
}

impl<T> Route<T> {
    /// The route's path as its owner wrote it: `/users/{id}`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What the route leads to.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The names of its parameters, in the order of the pattern, which is the order of [`Params`].
    pub fn param_names(&self) -> &[String] {
        &self.names
    }

    /// The parameters' names and values, in the order of the pattern.
    pub fn params<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names.iter().map(String::as_str).zip(params.0.iter().map(String::as_str))
    }
}

/// The values that a route captured, percent-decoded, in the order of the pattern. Empty ones take no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<String>);

/// What a [`Router`] has for a request.
#[derive(Debug)]
pub enum Found<'r, T> {
    /// This route.
    Match(Match<'r, T>),
    /// Routes with this path, but none that serves the method.
    NoMethod {
        /// The methods that are served there: the value of `Allow`.
        allow: String,
    },
    /// No route.
    None,
    /// The path is one that no route is asked for.
    BadPath(BadPath),
}

/// A route that serves a request.
#[derive(Debug)]
pub struct Match<'r, T> {
    /// The route.
    pub route: &'r Arc<Route<T>>,
    /// What it captured.
    pub params: Params,
}

/// An immutable table of routes.
#[derive(Debug)]
pub struct Router<T> {
    exact: HashMap<String, Chain<T>>,
    below: HashMap<String, Chain<T>>,
    any: Option<Chain<T>>,
}

/// The tables that are asked for one host pattern, the narrowest first.
type Chain<T> = Vec<Table<T>>;

impl<T> Router<T> {
    /// A router without routes.
    pub fn empty() -> Router<T> {
        Router { exact: HashMap::new(), below: HashMap::new(), any: None }
    }

    /// Starts a router without routes.
    pub fn builder() -> RouterBuilder<T> {
        RouterBuilder { routes: Vec::new() }
    }

    /// The route for a request. `host` may have a port, which is ignored; a host that is none matches the routes
    /// of any host. Takes no lock, and allocates only for parameters and for a path or host that is
    /// not in normal form.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Found<'_, T> {
        let path = match path::normalize(path) {
            Ok(path) => path,
            Err(bad) => return Found::BadPath(bad),
        };
        let Some(chain) = self.chain(host) else { return Found::None };
        for table in chain {
            match table.find(method, &path) {
                Ok(Some(found)) => return Found::Match(found),
                Ok(None) => {}
                Err(bad) => return Found::BadPath(bad),
            }
        }
        match allow(chain, &path) {
            Some(allow) => Found::NoMethod { allow },
            None => Found::None,
        }
    }

    /// The methods that are served at a path, as the value of `Allow`. None if it is not served at all.
    pub fn allow(&self, host: &str, path: &str) -> Option<String> {
        allow(self.chain(host)?, &path::normalize(path).ok()?)
    }

    fn chain(&self, host: &str) -> Option<&Chain<T>> {
        if self.exact.is_empty() && self.below.is_empty() {
            return self.any.as_ref();
        }
        let Some(name) = host_key(host) else { return self.any.as_ref() };
        if let Some(chain) = self.exact.get(name.as_ref()) {
            return Some(chain);
        }
        let mut rest = name.as_ref();
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(chain) = self.below.get(parent) {
                return Some(chain);
            }
            rest = parent;
        }
        self.any.as_ref()
    }
}

/// The value of `Allow` for a path in normal form, if anything is served there. `OPTIONS` is always allowed, because
/// it is answered from the routes.
fn allow<T>(chain: &Chain<T>, path: &str) -> Option<String> {
    let mut methods = BTreeSet::new();
    for table in chain {
        table.allow(path, &mut methods);
    }
    let mut allow: Vec<&str> = methods.iter().map(String::as_str).collect();
    if allow.is_empty() {
        return None;
    }
    if !methods.contains("OPTIONS") {
        allow.push("OPTIONS");
    }
    Some(allow.join(", "))
}

/// Why a route cannot be added. Displays as a sentence that names the route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    /// Its path is no pattern.
    #[error("{path:?} is not a route's path: {reason}")]
    Path {
        /// The path as written.
        path: String,
        /// What is wrong with it.
        reason: BadPattern,
    },
    /// It serves no method.
    #[error("the route {path:?} names no method; leave `methods` out to serve all of them")]
    NoMethods {
        /// The path as written.
        path: String,
    },
    /// It names `CONNECT`, which is no method for a path.
    #[error("the route {path:?} names CONNECT, which asks for a tunnel and never has a path")]
    Connect {
        /// The path as written.
        path: String,
    },
}

/// Two routes that cannot both be there. Displays as a sentence that names both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which route was added second: its place in the order of [`RouterBuilder::route`], from 0.
    pub route: usize,
    /// Which was there before.
    pub with: usize,
    /// Under which host both are served.
    pub host: HostPattern,
    /// The method that both serve; none if both serve all of them.
    pub method: Option<Method>,
    /// The paths as written, of the second and of the first.
    pub paths: (String, String),
    /// Whether both match exactly the same paths. Otherwise one is a parameter where the other is a wildcard.
    pub same: bool,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (second, first) = &self.paths;
        let method = self.method.as_ref().map_or("all methods", Method::as_str);
        let host = &self.host;
        if self.same {
            write!(
                f,
                "the routes {first:?} and {second:?} match the same paths, for {method} on {host}: give one of them another path, method or host"
            )
        } else {
            write!(
                f,
                "the routes {first:?} and {second:?} have a parameter and a wildcard in the same place, for {method} on {host}: put a literal segment before one of them"
            )
        }
    }
}

impl std::error::Error for Conflict {}

struct Added<T> {
    owner: Arc<str>,
    hosts: Vec<HostPattern>,
    methods: Methods,
    pattern: Pattern,
    route: Arc<Route<T>>,
}

/// Collects routes for a [`Router`].
pub struct RouterBuilder<T> {
    routes: Vec<Added<T>>,
}

impl<T> RouterBuilder<T> {
    /// Adds a route that leads to `value`.
    pub fn route(&mut self, key: RouteKey, value: T) -> Result<&mut Self, BadRoute> {
        let RouteKey { owner, mut hosts, methods, path } = key;
        let pattern = Pattern::parse(&path)
            .map_err(|reason| BadRoute::Path { path: path.clone(), reason })?;
        if let Methods::These(these) = &methods {
            if these.is_empty() {
                return Err(BadRoute::NoMethods { path });
            }
            if these.contains(&Method::CONNECT) {
                return Err(BadRoute::Connect { path });
            }
        }
        if hosts.is_empty() {
            hosts.push(HostPattern::Any);
        }
        hosts.sort();
        hosts.dedup();
        let route = Arc::new(Route {
            pattern: path,
            names: pattern.names().map(str::to_owned).collect(),
            wildcard: pattern.ends_in_wildcard(),
            value,
        });
        self.routes.push(Added { owner, hosts, methods, pattern, route });
        Ok(self)
    }

    /// Makes the router, or names every pair of routes that cannot both be there.
    pub fn build(&self) -> Result<Router<T>, Vec<Conflict>> {
        let mut router = Router { exact: HashMap::new(), below: HashMap::new(), any: None };
        let mut conflicts = Vec::new();
        let hosts: BTreeSet<&HostPattern> = self.routes.iter().flat_map(|r| &r.hosts).collect();
        for host in &hosts {
            let chain = self.chain(host, &hosts, &mut conflicts);
            match host {
                HostPattern::Exact(name) => drop(router.exact.insert(name.clone(), chain)),
                HostPattern::Below(name) => drop(router.below.insert(name.clone(), chain)),
                HostPattern::Any => router.any = Some(chain),
            }
        }
        if conflicts.is_empty() { Ok(router) } else { Err(conflicts) }
    }

    /// The tables for one host pattern: its own routes, then those that its owners have at wider ones.
    fn chain(
        &self,
        host: &HostPattern,
        hosts: &BTreeSet<&HostPattern>,
        conflicts: &mut Vec<Conflict>,
    ) -> Chain<T> {
        let own = self.routes.iter().filter(|added| added.hosts.contains(host));
        let owners: BTreeSet<&str> = own.map(|added| added.owner.as_ref()).collect();
        let mut wider: Vec<&HostPattern> =
            hosts.iter().copied().filter(|other| other.is_wider_than(host)).collect();
        wider.sort_by_key(|pattern| pattern.narrowness());
        let (table, clashes) = Table::build(&self.candidates(host, |_| true));
        conflicts.extend(clashes.into_iter().map(|clash| self.conflict(host, clash)));
        let mut chain = vec![table];
        for pattern in wider {
            let candidates = self.candidates(pattern, |owner| owners.contains(owner));
            if !candidates.is_empty() {
                // A clash here is also one of the pattern's own table, and reported there.
                chain.push(Table::build(&candidates).0);
            }
        }
        chain
    }

    /// The routes that are served under a host pattern, of the owners that are wanted.
    fn candidates(
        &self,
        host: &HostPattern,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<Candidate<'_, T>> {
        let served = |added: &Added<T>| added.hosts.contains(host) && wanted(&added.owner);
        let all = self.routes.iter().enumerate();
        all.filter(|(_, added)| served(added))
            .map(|(index, added)| Candidate {
                index,
                pattern: &added.pattern,
                methods: &added.methods,
                route: &added.route,
            })
            .collect()
    }

    fn conflict(&self, host: &HostPattern, clash: Clash) -> Conflict {
        let path = |index: usize| self.routes[index].route.pattern.clone();
        Conflict {
            route: clash.second,
            with: clash.first,
            host: host.clone(),
            method: clash.method,
            paths: (path(clash.second), path(clash.first)),
            same: clash.same,
        }
    }
}
