//! The check for routes that cannot stand side by side.
//!
//! Two routes under one host clash if some request could be answered by both and nothing prefers one of them:
//!
//! - They fit the same paths, and a method is in both. `HEAD` that comes with `GET` is not: a route that names it is
//!   preferred.
//! - One has a parameter for a segment where the other has one for all the rest, and both answer some method.
//!
//! Of the routes that are there, the first one that takes each method is kept, by shape and by place. So a route takes as many
//! look-ups as it has methods and parameters, however many others there are.

use std::collections::{HashMap, HashSet};

use http::Method;

use super::{Diagnostic, HostPattern, Methods, Route, RoutePath};

/// Routes under one host that can stand side by side. `T` is how the caller calls them, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Clashes<T> {
    by_shape: HashMap<String, Takers<T>>,
    /// The parameters after each prefix.
    by_place: HashMap<String, Places<T>>,
}

/// Those with a parameter for one segment, and those with one for all the rest.
#[derive(Debug)]
struct Places<T> {
    one: Takers<T>,
    rest: Takers<T>,
}

/// The route that a route which was to be added clashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clash<T> {
    /// The route that was there before.
    pub(crate) with: T,
    /// Whether both fit the same paths. Otherwise one has a parameter for a segment where the other has one for all
    /// the rest.
    pub(crate) same: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Rest,
}

/// Of some routes the first that takes each method.
#[derive(Debug)]
struct Takers<T> {
    every: Option<T>,
    /// [`Methods::Any`].
    any: Option<T>,
    named: HashMap<Method, T>,
    /// The first of all.
    first: Option<T>,
    /// The first that takes another method than `OPTIONS`.
    but_options: Option<T>,
    /// The first that answers `HEAD`.
    head: Option<T>,
}

impl<T> Default for Takers<T> {
    fn default() -> Self {
        let named = HashMap::new();
        Takers { every: None, any: None, named, first: None, but_options: None, head: None }
    }
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Places { one: Takers::default(), rest: Takers::default() }
    }
}

impl<T> Default for Clashes<T> {
    fn default() -> Self {
        Clashes { by_shape: HashMap::new(), by_place: HashMap::new() }
    }
}

/// Leaves the one that came before.
fn keep_first<T: Ord>(slot: &mut Option<T>, route: Option<T>) {
    *slot = slot.take().into_iter().chain(route).min();
}

impl<T: Copy + Ord> Takers<T> {
    fn add(&mut self, methods: &Methods, route: T) {
        let mut takers = Takers { first: Some(route), ..Takers::default() };
        match methods {
            Methods::Every => takers.every = takers.first,
            Methods::Any => takers.any = takers.first,
            Methods::Only(only) if only.is_empty() => return,
            Methods::Only(only) => {
                takers.named = only.iter().map(|method| (method.clone(), route)).collect();
            }
        }
        let is_options = |methods: &[Method]| methods.iter().all(|m| *m == Method::OPTIONS);
        if !matches!(methods, Methods::Only(only) if is_options(only)) {
            takers.but_options = takers.first;
        }
        if methods.answers(&Method::HEAD) {
            takers.head = takers.first;
        }
        self.merge(takers);
    }

    fn merge(&mut self, other: Takers<T>) {
        let Takers { every, any, named, first, but_options, head } = other;
        keep_first(&mut self.every, every);
        keep_first(&mut self.any, any);
        keep_first(&mut self.first, first);
        keep_first(&mut self.but_options, but_options);
        keep_first(&mut self.head, head);
        for (method, route) in named {
            let slot = self.named.entry(method).or_insert(route);
            *slot = route.min(*slot);
        }
    }

    /// The first that [overlaps](Methods::overlap).
    fn overlapping(&self, methods: &Methods) -> Option<T> {
        looked();
        match methods {
            Methods::Every => self.first,
            Methods::Any => self.but_options,
            Methods::Only(only) => {
                let of = |method: &Method| {
                    looked();
                    let any = self.any.filter(|_| *method != Method::OPTIONS);
                    self.named.get(method).copied().into_iter().chain(any).chain(self.every).min()
                };
                only.iter().filter_map(of).min()
            }
        }
    }

    /// The first that [competes](Methods::compete).
    fn competing(&self, methods: &Methods) -> Option<T> {
        let head = self.head.filter(|_| methods.answers(&Method::HEAD));
        self.overlapping(methods).into_iter().chain(head).min()
    }
}

impl<T: Copy + Ord> Clashes<T> {
    /// Adds a route, unless it clashes with one that is there.
    pub(crate) fn add(
        &mut self,
        path: &RoutePath,
        methods: &Methods,
        route: T,
    ) -> Result<(), Clash<T>> {
        let shape = path.shape();
        if let Some(clash) = self.find(&shape, methods) {
            return Err(clash);
        }
        self.insert(shape, methods, route);
        Ok(())
    }

    fn find(&self, shape: &str, methods: &Methods) -> Option<Clash<T>> {
        let same = self.by_shape.get(shape).and_then(|takers| takers.overlapping(methods));
        if let Some(with) = same {
            return Some(Clash { with, same: true });
        }
        let other = parameters(shape).find_map(|(prefix, kind)| {
            let places = self.by_place.get(prefix)?;
            let others = match kind {
                Kind::One => &places.rest,
                Kind::Rest => &places.one,
            };
            others.competing(methods)
        });
        other.map(|with| Clash { with, same: false })
    }

    fn insert(&mut self, shape: String, methods: &Methods, route: T) {
        for (prefix, kind) in parameters(&shape) {
            let places = match self.by_place.get_mut(prefix) {
                Some(places) => places,
                None => self.by_place.entry(prefix.to_owned()).or_default(),
            };
            let takers = match kind {
                Kind::One => &mut places.one,
                Kind::Rest => &mut places.rest,
            };
            takers.add(methods, route);
        }
        self.by_shape.entry(shape).or_default().add(methods, route);
    }

    fn merge(&mut self, other: Clashes<T>) {
        for (shape, takers) in other.by_shape {
            self.by_shape.entry(shape).or_default().merge(takers);
        }
        for (prefix, places) in other.by_place {
            let known = self.by_place.entry(prefix).or_default();
            known.one.merge(places.one);
            known.rest.merge(places.rest);
        }
    }
}

/// The routes of an app, or of all apps of a tenant, as far as they were looked at.
#[derive(Default)]
pub(crate) struct Routes<'a> {
    hosts: HashSet<&'a HostPattern>,
    added: Vec<(String, &'a Route)>,
    settled: Hosted<'a>,
    /// Since they were settled last.
    trying: Hosted<'a>,
}

/// Routes by the host that they are for.
#[derive(Default)]
struct Hosted<'a> {
    /// Those that name none.
    unnamed: Clashes<usize>,
    named: HashMap<&'a HostPattern, Clashes<usize>>,
    /// Of those that name one, all that stand beside those that name none.
    beside: Clashes<usize>,
}

impl<'a> Hosted<'a> {
    fn find(
        &self,
        host: Option<&HostPattern>,
        is_shared: bool,
        with: &Find<'_>,
    ) -> Option<Clash<usize>> {
        let Some(host) = host else { return with(&self.unnamed).or_else(|| with(&self.beside)) };
        let named = self.named.get(host).and_then(with);
        named.or_else(|| is_shared.then(|| with(&self.unnamed)).flatten())
    }

    fn merge(&mut self, other: Hosted<'a>) {
        self.unnamed.merge(other.unnamed);
        self.beside.merge(other.beside);
        for (host, routes) in other.named {
            self.named.entry(host).or_default().merge(routes);
        }
    }
}

type Find<'f> = dyn Fn(&Clashes<usize>) -> Option<Clash<usize>> + 'f;

impl<'a> Routes<'a> {
    /// No routes yet. Those that name no host are served under all of these; none are all that are not known yet.
    pub(crate) fn under(hosts: &'a [HostPattern]) -> Routes<'a> {
        Routes { hosts: hosts.iter().collect(), ..Routes::default() }
    }

    /// Adds a route of `owner` (such as "function `a`"), or says with what it clashes.
    pub(crate) fn add(&mut self, owner: &str, route: &'a Route) -> Option<Clashing<'_>> {
        let (shape, host) = (route.path.shape(), route.host.as_ref());
        // Whether it is served beside those that name no host.
        let is_shared = host.is_some_and(|host| self.hosts.contains(host));
        let with = |routes: &Clashes<usize>| routes.find(&shape, &route.methods);
        let settled = self.settled.find(host, is_shared, &with);
        let clash = settled.or_else(|| self.trying.find(host, is_shared, &with));
        let index = self.added.len();
        self.added.push((owner.to_owned(), route));
        if let Some(Clash { with, same }) = clash {
            let (owner, other) = &self.added[with];
            return Some(Clashing { route, owner, other, same });
        }
        let trying = &mut self.trying;
        if is_shared {
            trying.beside.insert(shape.clone(), &route.methods, index);
        }
        let routes = match host {
            None => &mut trying.unnamed,
            Some(host) => trying.named.entry(host).or_default(),
        };
        routes.insert(shape, &route.methods, index);
        None
    }

    /// Keeps what was added since the last time, or takes it out again.
    pub(crate) fn settle(&mut self, keep: bool) {
        let tried = std::mem::take(&mut self.trying);
        if keep {
            self.settled.merge(tried);
        }
    }
}

/// A route that cannot stand beside another one.
pub(crate) struct Clashing<'a> {
    route: &'a Route,
    owner: &'a str,
    other: &'a Route,
    same: bool,
}

impl Clashing<'_> {
    /// The finding about the route.
    pub(crate) fn finding(&self) -> Diagnostic {
        let Clashing { route, owner, other, same } = *self;
        if same { duplicate(route, owner, other) } else { ambiguous(route, owner, other) }
    }
}

fn duplicate(route: &Route, owner: &str, other: &Route) -> Diagnostic {
    let message = format!("route `{route}` is taken by {owner}");
    let same_text = route.path.as_str() == other.path.as_str();
    let there = if same_text {
        "the route is here".to_owned()
    } else {
        format!("`{other}` matches the same paths")
    };
    let finding = Diagnostic::error(message).at(&route.place).related(&other.place, there);
    match (&route.methods, &other.methods) {
        (Methods::Only(_), Methods::Only(_)) => finding,
        _ => finding.help("a route without `methods` takes every method"),
    }
}

/// A parameter for one segment and one for all the rest cannot stand at the same place: no route is preferred.
fn ambiguous(route: &Route, owner: &str, other: &Route) -> Diagnostic {
    let message =
        format!("route `{}` and `{}` of {owner} match the same paths", route.path, other.path);
    let help = "a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them";
    Diagnostic::error(message)
        .help(help)
        .at(&route.place)
        .related(&other.place, "the other route is here")
}

/// The parameters of a shape, each with what stands before it.
fn parameters(shape: &str) -> impl Iterator<Item = (&str, Kind)> {
    shape.match_indices("/{").map(|(at, _)| {
        let kind = if shape[at + 2..].starts_with('*') { Kind::Rest } else { Kind::One };
        (&shape[..at], kind)
    })
}

#[cfg(not(test))]
fn looked() {}

#[cfg(test)]
use tests::looked;

#[cfg(test)]
mod tests;
