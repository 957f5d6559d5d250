//! Detection of routes that clash.
//!
//! Two routes under one host clash if some request could be answered by both and nothing prefers
//! one of them:
//!
//! - They fit the same paths, and a method is in both. `HEAD` that comes with `GET` is not: a route
//!   that names it is preferred.
//! - One has a parameter for a segment where the other has one for all the rest, and both answer
//!   some method.
//!
//! Of the routes that are there, the first one that takes each method is kept, by shape and by
//! place. So a route takes as many look-ups as it has methods and parameters, however many others
//! there are.

use std::collections::HashMap;

use http::Method;

use super::{Methods, RoutePath};

/// Routes under one host that can stand side by side. `T` is how the caller calls them, in the
/// order in which they come.
#[derive(Debug)]
pub struct Clashes<T> {
    by_shape: HashMap<String, Takers<T>>,
    /// The parameters after each prefix.
    by_place: HashMap<String, ParamPlaces<T>>,
}

/// Those with a parameter for one segment, and those with one for all the rest.
#[derive(Debug)]
struct ParamPlaces<T> {
    one: Takers<T>,
    rest: Takers<T>,
}

/// The route that a route which was to be added clashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash<T> {
    /// The route that was there before.
    pub with: T,
    /// Whether both fit the same paths. Otherwise one has a parameter for a segment where the
    /// other has one for all the rest.
    pub same: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SegmentKind {
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

impl<T> Default for ParamPlaces<T> {
    fn default() -> Self {
        ParamPlaces { one: Takers::default(), rest: Takers::default() }
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
    ///
    /// # Errors
    /// The clash; the route is not added.
    pub fn add(&mut self, path: &RoutePath, methods: &Methods, route: T) -> Result<(), Clash<T>> {
        let shape = path.shape();
        if let Some(clash) = self.find(&shape, methods) {
            return Err(clash);
        }
        self.insert(shape, methods, route);
        Ok(())
    }

    pub(super) fn find(&self, shape: &str, methods: &Methods) -> Option<Clash<T>> {
        let same = self.by_shape.get(shape).and_then(|takers| takers.overlapping(methods));
        if let Some(with) = same {
            return Some(Clash { with, same: true });
        }
        let other = parameters(shape).find_map(|(prefix, kind)| {
            let places = self.by_place.get(prefix)?;
            let others = match kind {
                SegmentKind::One => &places.rest,
                SegmentKind::Rest => &places.one,
            };
            others.competing(methods)
        });
        other.map(|with| Clash { with, same: false })
    }

    pub(super) fn insert(&mut self, shape: String, methods: &Methods, route: T) {
        for (prefix, kind) in parameters(&shape) {
            let places = match self.by_place.get_mut(prefix) {
                Some(places) => places,
                None => self.by_place.entry(prefix.to_owned()).or_default(),
            };
            let takers = match kind {
                SegmentKind::One => &mut places.one,
                SegmentKind::Rest => &mut places.rest,
            };
            takers.add(methods, route);
        }
        self.by_shape.entry(shape).or_default().add(methods, route);
    }

    pub(super) fn merge(&mut self, other: Clashes<T>) {
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

/// The parameters of a shape, each with what stands before it.
fn parameters(shape: &str) -> impl Iterator<Item = (&str, SegmentKind)> {
    shape.match_indices("/{").map(|(at, _)| {
        let kind =
            if shape[at + 2..].starts_with('*') { SegmentKind::Rest } else { SegmentKind::One };
        (&shape[..at], kind)
    })
}

#[cfg(not(test))]
fn looked() {}

#[cfg(test)]
use tests::looked;

#[cfg(test)]
mod tests;
