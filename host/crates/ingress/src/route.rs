//! Routes: from a request's host name, method and path to what serves it.
//!
//! A [`Router`] is built whole, never changed, and swapped whole by its owner. The winning route is
//! decided in this order:
//!
//! 1. **Host.** The narrowest pattern that covers the name: the exact name, then `*.` wildcards
//!    from the longest to the shortest, then any host. Patterns are those of routes and those that
//!    were [given](RouterBuilder::owned_by) to an owner, routes or not. Where nothing there matches
//!    the path and method, the next wider pattern is asked, but only for routes of the narrowest
//!    pattern's owner: a wildcard never answers for a name of another owner, whatever that owner
//!    serves there.
//! 2. **Method.** Only routes that take the method are looked at. A route for `GET` serves `HEAD`
//!    as well, unless a route of the same shape names it.
//! 3. **Path.** Which patterns fit a path, and which of them wins, is said in
//!    [`lacewing_base::route`].

mod host;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use http::Method;
use lacewing_base::{
    HostPattern, Methods, RoutePath,
    route::{Clash, Clashes, InvalidPath, canonical_path},
};
use lacewing_manifest::config::HostOwners;

pub(crate) use self::host::{host_key, port_of};
use self::table::Table;

/// The key of a route.
#[derive(Clone, Debug)]
pub struct RouteKey {
    /// The owner of the route. Routes of one owner are alternatives of each other under a host
    /// name; those of another owner never are.
    pub owner: Arc<str>,
    /// The host names that it is served under. None is the same as any host.
    pub hosts: Vec<HostPattern>,
    /// The methods that it serves.
    pub methods: Methods,
    /// Its path.
    pub path: RoutePath,
}

/// One route of a [`Router`].
#[derive(Debug)]
pub struct Route<T> {
    path: RoutePath,
    names: Box<[String]>,
    takes_rest: bool,
    methods: Methods,
    value: T,
}

impl<T> Route<T> {
    /// The route's path: `/users/{id}`.
    pub fn pattern(&self) -> &str {
        self.path.as_str()
    }

    /// The target of the route.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The parameters' names and values, in the order of the pattern.
    pub fn params<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names.iter().map(String::as_str).zip(params.0.iter().map(String::as_str))
    }
}

/// The values that a route captured, percent-decoded, in the order of the pattern. Empty ones take
/// no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<String>);

/// The answer of a [`Router`] to a request.
#[derive(Debug)]
pub enum RouteLookup<'r, T> {
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
    BadPath(InvalidPath),
}

/// A route that serves a request.
#[derive(Debug)]
pub struct Match<'r, T> {
    /// The route.
    pub route: &'r Arc<Route<T>>,
    /// The route's captures.
    pub params: Params,
}

/// An immutable table of routes.
#[derive(Debug)]
pub struct Router<T> {
    exact: HashMap<Arc<str>, Chain<T>>,
    /// By what follows the star: `.example.com`.
    below: HashMap<Arc<str>, Chain<T>>,
    any: Option<Chain<T>>,
}

/// The tables that are asked for one host pattern, the narrowest first. None where its owner serves
/// nothing.
type Chain<T> = Box<[Arc<Table<T>>]>;

impl<T> Router<T> {
    /// A router without routes.
    pub fn empty() -> Router<T> {
        Router { exact: HashMap::new(), below: HashMap::new(), any: None }
    }

    /// Starts a router without routes.
    pub fn builder() -> RouterBuilder<T> {
        RouterBuilder { routes: Vec::new(), owners: Arc::default() }
    }

    /// The route for a request. `host` may have a port, which is ignored; a host that is none
    /// matches the routes of any host. Takes no lock, and allocates only for parameters and for
    /// a path or host that is not in canonical form.
    pub fn find(&self, host: &str, method: &Method, path: &str) -> RouteLookup<'_, T> {
        let path = match canonical_path(path) {
            Ok(path) => path,
            Err(bad) => return RouteLookup::BadPath(bad),
        };
        let Some(chain) = self.chain(host) else { return RouteLookup::None };
        for table in chain {
            match table.find(method, &path) {
                Ok(Some(found)) => return RouteLookup::Match(found),
                Ok(None) => {}
                Err(bad) => return RouteLookup::BadPath(bad),
            }
        }
        match allow(chain, &path) {
            Some(allow) => RouteLookup::NoMethod { allow },
            None => RouteLookup::None,
        }
    }

    /// The route that an address without a route for its request is closest to: one that serves the
    /// path with another method, or that would serve the path if the path were well formed.
    /// Says whose answer a refusal is, and never what is run.
    pub fn nearest(&self, host: &str, method: &Method, path: &str) -> Option<&Arc<Route<T>>> {
        let escaped;
        let path = match canonical_path(path) {
            Err(InvalidPath::Encoding { .. }) => {
                escaped = with_signs_escaped(path);
                canonical_path(&escaped)
            }
            path => path,
        };
        let path = path.ok()?;
        self.chain(host)?.iter().find_map(|table| table.nearest(method, &path))
    }

    /// The methods that are served at a path, as the value of `Allow`. None if it is not served at
    /// all.
    pub fn allow(&self, host: &str, path: &str) -> Option<String> {
        allow(self.chain(host)?, &canonical_path(path).ok()?)
    }

    fn chain(&self, host: &str) -> Option<&Chain<T>> {
        if self.exact.is_empty() && self.below.is_empty() {
            return self.any.as_ref();
        }
        let Some(name) = host_key(host) else { return self.any.as_ref() };
        if let Some(chain) = self.exact.get(name.as_ref()) {
            return Some(chain);
        }
        for (dot, _) in name.match_indices('.') {
            if let Some(chain) = self.below.get(&name[dot..]) {
                return Some(chain);
            }
        }
        self.any.as_ref()
    }
}

/// A path whose percent signs are data where no two hexadecimal digits follow them.
fn with_signs_escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len() + 16);
    let mut parts = path.split('%');
    escaped.extend(parts.next());
    for part in parts {
        let is_byte =
            part.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        escaped.push_str(if is_byte { "%" } else { "%25" });
        escaped.push_str(part);
    }
    escaped
}

/// The value of `Allow` for a path in canonical form, if anything is served there. `OPTIONS` is
/// always allowed, because it is answered from the routes.
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

/// Two routes that cannot both be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The route that was added second: its place in the order of [`RouterBuilder::route`], from
    /// 0.
    pub route: usize,
    /// The route that was there before.
    pub with: usize,
    /// Under which host both are served.
    pub host: HostPattern,
    /// Whether both fit exactly the same paths. Otherwise one has a parameter for a segment where
    /// the other has one for all the rest.
    pub same: bool,
}

struct Added<T> {
    owner: Arc<str>,
    hosts: Vec<HostPattern>,
    route: Arc<Route<T>>,
}

/// Collects routes for a [`Router`].
pub struct RouterBuilder<T> {
    routes: Vec<Added<T>>,
    owners: Arc<HostOwners>,
}

/// The places of routes in the order in which they were added.
type Places = Vec<usize>;

impl<T> RouterBuilder<T> {
    /// Gives host names to owners. A name is answered by its owner's routes, or by none; a name
    /// without an owner is answered by whoever has routes at its narrowest pattern.
    pub fn owned_by(&mut self, owners: Arc<HostOwners>) -> &mut Self {
        self.owners = owners;
        self
    }

    /// Adds a route that leads to `value`.
    pub fn route(&mut self, key: RouteKey, value: T) -> &mut Self {
        let RouteKey { owner, mut hosts, methods, path } = key;
        if hosts.is_empty() {
            hosts.push(HostPattern::Any);
        }
        hosts.sort();
        hosts.dedup();
        let route = Arc::new(Route {
            names: path.parameters().map(str::to_owned).collect(),
            takes_rest: path.takes_rest(),
            path,
            methods,
            value,
        });
        self.routes.push(Added { owner, hosts, route });
        self
    }

    /// Makes the router, or names every pair of routes that cannot both be there.
    pub fn build(&self) -> Result<Router<T>, Vec<Conflict>> {
        let conflicts = self.conflicts();
        if conflicts.is_empty() { Ok(self.assemble()) } else { Err(conflicts) }
    }

    /// Makes the router of routes that have been together in one before: that they do not clash is
    /// known.
    pub fn assemble(&self) -> Router<T> {
        // By host and owner. A name whose owner serves nothing there has a place too, so that no
        // wildcard answers for it.
        let mut places: BTreeMap<&HostPattern, BTreeMap<&str, Places>> = BTreeMap::new();
        for host in self.owners.patterns() {
            places.entry(host).or_default();
        }
        for (index, added) in self.routes.iter().enumerate() {
            for host in &added.hosts {
                places.entry(host).or_default().entry(&added.owner).or_default().push(index);
            }
        }
        let mut tables = HashMap::new();
        let mut router = Router::empty();
        for host in places.keys() {
            let chain = self.chain(host, &places, &mut tables);
            match host {
                HostPattern::Exact(name) => drop(router.exact.insert(name.clone(), chain)),
                HostPattern::Below(suffix) => drop(router.below.insert(suffix.clone(), chain)),
                HostPattern::Any => router.any = Some(chain),
            }
        }
        router
    }

    /// The pairs of routes that cannot both be served under some host pattern.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut places: BTreeMap<&HostPattern, Places> = BTreeMap::new();
        for (index, added) in self.routes.iter().enumerate() {
            for host in &added.hosts {
                places.entry(host).or_default().push(index);
            }
        }
        let under = |(host, places): (&HostPattern, Places)| {
            let mut clashes = Clashes::default();
            let clash = |index: usize| {
                let route = &self.routes[index].route;
                let Clash { with, same } = clashes.add(&route.path, &route.methods, index).err()?;
                Some(Conflict { route: index, with, host: host.clone(), same })
            };
            places.into_iter().filter_map(clash).collect::<Vec<_>>()
        };
        places.into_iter().flat_map(under).collect()
    }

    /// The tables for one host pattern: the routes that its owner has there, then those that the
    /// owner has at wider ones. Patterns with the same routes share a table.
    fn chain(
        &self,
        host: &HostPattern,
        places: &BTreeMap<&HostPattern, BTreeMap<&str, Places>>,
        tables: &mut HashMap<Places, Arc<Table<T>>>,
    ) -> Chain<T> {
        let owners: Vec<&str> = match self.owners.owner(host) {
            Some(owner) => vec![owner.as_str()],
            None => places[host].keys().copied().collect(),
        };
        let wider = host.wider();
        let chain = std::iter::once(host).chain(&wider).filter_map(|pattern| {
            let at = places.get(pattern)?;
            let mut routes: Places =
                owners.iter().filter_map(|owner| at.get(owner)).flatten().copied().collect();
            if routes.is_empty() {
                return None;
            }
            routes.sort_unstable();
            let table = tables.entry(routes).or_insert_with_key(|routes| {
                Arc::new(Table::build(routes.iter().map(|index| &self.routes[*index].route)))
            });
            Some(Arc::clone(table))
        });
        chain.collect()
    }
}
