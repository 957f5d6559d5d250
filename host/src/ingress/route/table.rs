//! The routes of one host pattern: a tree of paths for each method that some route names, and one for the others.
//!
//! A route that serves every method is in each tree, so that one lookup decides, and a literal wins over a
//! parameter also where the literal's route is for any method and the parameter's for this one.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use http::Method;

use super::{InvalidPath, Match, Methods, Params, Route};
use crate::manifest::decode_parameter;

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
    ) -> Result<Option<Match<'_, T>>, InvalidPath> {
        let named = self.named.iter().find(|(name, _)| name == method);
        let tree = named.map_or(&self.other, |(_, tree)| tree);
        let Ok(found) = tree.at(path) else { return Ok(None) };
        let route = found.value;
        let mut params = Params::default();
        if let Some(last) = route.names.len().checked_sub(1) {
            params.0.reserve_exact(route.names.len());
            // Where all the rest is empty, the path without it has matched, and nothing was captured for it.
            let captured = found.params.iter().map(|(_, value)| value).chain([""]);
            for (index, (name, captured)) in route.names.iter().zip(captured).enumerate() {
                let rest = route.takes_rest && index == last;
                params.0.push(decode_parameter(name, captured, rest)?);
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

/// A route on its way into a table.
#[derive(Debug)]
pub(super) struct Candidate<'a, T> {
    pub(super) methods: &'a Methods,
    pub(super) route: &'a Arc<Route<T>>,
}

impl<T> Table<T> {
    /// A table of routes that do not clash.
    pub(super) fn build(candidates: &[Candidate<'_, T>]) -> Table<T> {
        let mut methods = vec![Method::OPTIONS];
        for candidate in candidates {
            if let Methods::Only(only) = candidate.methods {
                let head = only.contains(&Method::GET).then_some(&Method::HEAD);
                for method in only.iter().chain(head) {
                    if !methods.contains(method) {
                        methods.push(method.clone());
                    }
                }
            }
        }
        let of = |keep: &dyn Fn(&Methods) -> bool| {
            let kept = candidates.iter().filter(|candidate| keep(candidate.methods));
            kept.map(|candidate| candidate.route).collect::<Vec<_>>()
        };
        let other = tree(&of(&|methods| !matches!(methods, Methods::Only(_))));
        let named = methods.into_iter().map(|method| {
            let mut routes = of(&|methods| methods.contains(&method));
            routes.extend(of(&|methods| !methods.contains(&method) && methods.answers(&method)));
            (method, tree(&routes))
        });
        Table { named: named.collect(), other }
    }
}

/// The tree for one method, or for all that no route names. Of routes with the same shape, the first is taken.
fn tree<T>(routes: &[&Arc<Route<T>>]) -> Tree<T> {
    let mut tree = Tree::new();
    let mut taken = HashSet::new();
    let shapes = routes.iter().map(|route| (route.path.shape(), *route));
    // `matchit` takes all the rest only where there is some.
    let without_rest = routes.iter().filter(|route| route.takes_rest).map(|route| {
        let mut shape = route.path.shape();
        shape.truncate(shape.rfind('/').map_or(0, |slash| slash + 1));
        (shape, *route)
    });
    for (shape, route) in shapes.chain(without_rest) {
        if taken.insert(shape.clone())
            && let Err(error) = tree.insert(shape, Arc::clone(route))
        {
            // What `Clashes` lets through, the tree takes; should it not, no route is dropped in silence.
            tracing::error!(route = route.pattern(), %error, "a route is not served");
        }
    }
    tree
}
