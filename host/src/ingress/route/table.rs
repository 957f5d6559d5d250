//! The routes of one host pattern: a tree of paths for each method that some route names, and one for the others.
//!
//! A route that serves every method is in each tree, so that one lookup decides, and a literal wins over a
//! parameter also where the literal's route is for any method and the parameter's for this one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use http::Method;

use super::{
    BadPath, Match, Methods, Params, Route,
    path::{Pattern, decode},
};

/// What a route for any method allows, besides `OPTIONS`. Others are served too, but are not advertised.
const ADVERTISED: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[derive(Debug)]
pub(super) struct Table<T> {
    /// One tree for `OPTIONS` and for each method that a route names; there are few, so a scan finds it.
    named: Vec<(Method, Tree<T>)>,
    /// For the methods that no route names.
    other: Tree<T>,
}

type Tree<T> = matchit::Router<Arc<Route<T>>>;

impl<T> Table<T> {
    pub(super) fn find(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<Option<Match<'_, T>>, BadPath> {
        let named = self.named.iter().find(|(name, _)| name == method);
        let tree = named.map_or(&self.other, |(_, tree)| tree);
        let Ok(found) = tree.at(path) else { return Ok(None) };
        let route = found.value;
        let mut params = Params::default();
        if !route.names.is_empty() {
            let last = route.names.len() - 1;
            params.0.reserve_exact(route.names.len());
            for (index, (name, captured)) in found.params.iter().enumerate() {
                params.0.push(decode(name, captured, route.wildcard && index == last)?);
            }
        }
        Ok(Some(Match { route, params }))
    }

    /// Adds the methods that are served at a path.
    pub(super) fn allow(&self, path: &str, methods: &mut BTreeSet<String>) {
        if self.other.at(path).is_ok() {
            methods.extend(ADVERTISED.iter().map(Method::to_string));
        }
        for (method, tree) in &self.named {
            if tree.at(path).is_ok() {
                methods.insert(method.to_string());
            }
        }
    }
}

/// Two routes of one table that cannot both be there, by their places in the order in which all were added.
#[derive(Clone, Debug)]
pub(super) struct Clash {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) method: Option<Method>,
    pub(super) same: bool,
}

/// A route on its way into a table.
#[derive(Debug)]
pub(super) struct Candidate<'a, T> {
    pub(super) index: usize,
    pub(super) pattern: &'a Pattern,
    pub(super) methods: &'a Methods,
    pub(super) route: &'a Arc<Route<T>>,
}

/// How directly a route serves a method. Of two routes of the same shape, the more direct one is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Named,
    HeadByGet,
    Any,
}

impl<T> Table<T> {
    pub(super) fn build(candidates: &[Candidate<'_, T>]) -> (Table<T>, Vec<Clash>) {
        let mut methods = vec![Method::OPTIONS];
        for candidate in candidates {
            if let Methods::These(these) = candidate.methods {
                let head = these.contains(&Method::GET).then_some(&Method::HEAD);
                for method in these.iter().chain(head) {
                    if !methods.contains(method) {
                        methods.push(method.clone());
                    }
                }
            }
        }
        let mut clashes = Vec::new();
        let other = tree(candidates, None, &mut clashes);
        let named = methods
            .into_iter()
            .map(|method| {
                let tree = tree(candidates, Some(&method), &mut clashes);
                (method, tree)
            })
            .collect();
        (Table { named, other }, clashes)
    }
}

fn claim(methods: &Methods, method: Option<&Method>) -> Option<Claim> {
    match (methods, method) {
        (Methods::Any, Some(&Method::OPTIONS)) => None,
        (Methods::Any | Methods::Every, _) => Some(Claim::Any),
        (Methods::These(_), None) => None,
        (Methods::These(these), Some(method)) if these.contains(method) => Some(Claim::Named),
        (Methods::These(these), Some(&Method::HEAD)) if these.contains(&Method::GET) => {
            Some(Claim::HeadByGet)
        }
        (Methods::These(_), Some(_)) => None,
    }
}

/// The tree for one method, or for all that no route names.
fn tree<T>(
    candidates: &[Candidate<'_, T>],
    method: Option<&Method>,
    clashes: &mut Vec<Clash>,
) -> Tree<T> {
    let mut tree = Tree::new();
    let mut shapes: HashMap<String, (Claim, usize)> = HashMap::new();
    let mut places: HashMap<String, (bool, usize)> = HashMap::new();
    let mut claims: Vec<(Claim, &Candidate<'_, T>)> = candidates
        .iter()
        .filter_map(|candidate| Some((claim(candidate.methods, method)?, candidate)))
        .collect();
    claims.sort_by_key(|(claim, _)| *claim);
    for (claim, candidate) in claims {
        let index = candidate.index;
        let mut clash = |other: usize, same: bool| {
            let (first, second) = (index.min(other), index.max(other));
            if !clashes.iter().any(|known| (known.first, known.second) == (first, second)) {
                clashes.push(Clash { first, second, method: method.cloned(), same });
            }
        };
        if let Some(&(taken, other)) = shapes.get(&candidate.pattern.shape()) {
            if taken == claim {
                clash(other, true);
            }
            continue;
        }
        let mut ambiguous = None;
        for (place, wildcard) in candidate.pattern.captures() {
            let (taken, other) = *places.entry(place).or_insert((wildcard, index));
            if taken != wildcard {
                ambiguous = Some(other);
            }
        }
        if let Some(other) = ambiguous {
            clash(other, false);
            continue;
        }
        shapes.insert(candidate.pattern.shape(), (claim, index));
        if tree.insert(candidate.pattern.to_string(), Arc::clone(candidate.route)).is_err() {
            // Both rules of the tree are checked above; should it have another, no route is dropped in silence.
            clash(shapes.values().map(|(_, other)| *other).min().unwrap_or(index), false);
        }
    }
    tree
}
