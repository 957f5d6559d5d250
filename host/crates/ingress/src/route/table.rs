//! The routes of one host pattern: those without parameters by their path, and for the others a
//! tree of paths for each method that some route names, and one for the rest.
//!
//! A path that is a route's literal, all of it, is that route's: any other pattern that fits it has
//! a parameter in the first segment in which the two differ. So the literals are asked first, and a
//! table of many functions is a hash table.
//!
//! A route that serves every method is in each tree, so that one lookup decides, and a literal wins
//! over a parameter also where the literal's route is for any method and the parameter's for this
//! one. Methods that lead to the same routes share a tree.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use http::Method;
use lacewing_base::route::decode_parameter;

use super::{InvalidPath, Match, Methods, Params, Route};

/// The methods that a route for any method allows, besides `OPTIONS`. Others are served too, but
/// are not advertised.
const ADVERTISED: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

#[derive(Debug)]
pub(super) struct Table<T> {
    literals: HashMap<Arc<str>, Literal<T>>,
    trees: Option<Box<Trees<T>>>,
    /// `OPTIONS`, and each method that a route names.
    methods: Box<[Method]>,
}

/// The routes of one path without parameters. No two of them take the same method.
#[derive(Debug)]
enum Literal<T> {
    One(Arc<Route<T>>),
    /// Boxed, because there seldom are: most entries shall be small.
    #[expect(clippy::box_collection, reason = "a pointer is a third of a vector")]
    Several(Box<Vec<Arc<Route<T>>>>),
}

impl<T> Literal<T> {
    fn routes(&self) -> &[Arc<Route<T>>] {
        match self {
            Literal::One(route) => std::slice::from_ref(route),
            Literal::Several(routes) => routes,
        }
    }

    /// A route that names `HEAD` is taken before one that brings it with `GET`.
    fn find(&self, method: &Method) -> Option<&Arc<Route<T>>> {
        let routes = self.routes();
        routes
            .iter()
            .find(|route| route.methods.contains(method))
            .or_else(|| routes.iter().find(|route| route.methods.answers(method)))
    }

    fn add(&mut self, route: Arc<Route<T>>) {
        match self {
            Literal::One(first) => {
                *self = Literal::Several(Box::new(vec![Arc::clone(first), route]))
            }
            Literal::Several(routes) => routes.push(route),
        }
    }
}

/// The routes with parameters.
#[derive(Debug)]
struct Trees<T> {
    /// One tree for `OPTIONS` and for each method that a route names; there are few, so a scan
    /// finds it.
    named: Vec<(Method, Arc<Tree<T>>)>,
    /// For the methods that no route names.
    other: Arc<Tree<T>>,
}

type Tree<T> = matchit::Router<Arc<Route<T>>>;

impl<T> Trees<T> {
    fn tree(&self, method: &Method) -> &Tree<T> {
        let named = self.named.iter().find(|(name, _)| name == method);
        named.map_or(&self.other, |(_, tree)| tree)
    }
}

impl<T> Table<T> {
    pub(super) fn find(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<Option<Match<'_, T>>, InvalidPath> {
        if let Some(route) = self.literals.get(path).and_then(|literal| literal.find(method)) {
            return Ok(Some(Match { route, params: Params::default() }));
        }
        let Some(trees) = &self.trees else { return Ok(None) };
        let Ok(found) = trees.tree(method).at(path) else { return Ok(None) };
        let route = found.value;
        let mut params = Params::default();
        if let Some(last) = route.names.len().checked_sub(1) {
            params.0.reserve_exact(route.names.len());
            // Where all the rest is empty, the path without it has matched, and nothing was
            // captured for it.
            let captured = found.params.iter().map(|(_, value)| value).chain([""]);
            for (index, (name, captured)) in route.names.iter().zip(captured).enumerate() {
                let rest = route.takes_rest && index == last;
                params.0.push(decode_parameter(name, captured, rest)?);
            }
        }
        Ok(Some(Match { route, params }))
    }

    /// A route that fits a path: one for this method, or else for any other.
    pub(super) fn nearest(&self, method: &Method, path: &str) -> Option<&Arc<Route<T>>> {
        let literal = self.literals.get(path);
        let serving = |method: &Method| {
            let literal = literal.and_then(|literal| literal.find(method));
            let tree = || Some(self.trees.as_ref()?.tree(method).at(path).ok()?.value);
            literal.or_else(tree)
        };
        let other = || Some(self.trees.as_ref()?.other.at(path).ok()?.value);
        serving(method)
            .or_else(|| self.methods.iter().find_map(serving))
            .or_else(|| literal.and_then(|literal| literal.routes().first()))
            .or_else(other)
    }

    /// Adds the methods that are served at a path.
    pub(super) fn allow(&self, path: &str, methods: &mut BTreeSet<String>) {
        let literal = self.literals.get(path);
        let trees = self.trees.as_deref();
        let any = literal.is_some_and(|literal| {
            literal.routes().iter().any(|route| !matches!(route.methods, Methods::Only(_)))
        });
        if any || trees.is_some_and(|trees| trees.other.at(path).is_ok()) {
            methods.extend(ADVERTISED.iter().map(Method::to_string));
        }
        for method in &self.methods {
            let served = literal.is_some_and(|literal| literal.find(method).is_some())
                || trees.is_some_and(|trees| trees.tree(method).at(path).is_ok());
            if served {
                methods.insert(method.to_string());
            }
        }
    }

    /// A table of routes that do not clash.
    pub(super) fn build<'a>(routes: impl Iterator<Item = &'a Arc<Route<T>>> + Clone) -> Table<T>
    where
        T: 'a,
    {
        let is_literal = |route: &&Arc<Route<T>>| route.names.is_empty();
        let mut literals: HashMap<Arc<str>, Literal<T>> =
            HashMap::with_capacity(routes.clone().filter(is_literal).count());
        for route in routes.clone().filter(is_literal) {
            literals
                .entry(route.path.to_shared())
                .and_modify(|literal| literal.add(Arc::clone(route)))
                .or_insert_with(|| Literal::One(Arc::clone(route)));
        }
        let patterns: Vec<_> = routes.clone().filter(|route| !is_literal(route)).collect();
        let trees = (!patterns.is_empty()).then(|| Box::new(Trees::build(&patterns)));
        Table { literals, trees, methods: methods(routes).into() }
    }
}

/// `OPTIONS`, and each method that a route names.
fn methods<'a, T: 'a>(routes: impl Iterator<Item = &'a Arc<Route<T>>>) -> Vec<Method> {
    let mut methods = vec![Method::OPTIONS];
    for route in routes {
        if let Methods::Only(only) = &route.methods {
            let head = only.contains(&Method::GET).then_some(&Method::HEAD);
            for method in only.iter().chain(head) {
                if !methods.contains(method) {
                    methods.push(method.clone());
                }
            }
        }
    }
    methods
}

impl<T> Trees<T> {
    fn build(routes: &[&Arc<Route<T>>]) -> Trees<T> {
        let of = |keep: &dyn Fn(&Methods) -> bool| {
            let kept = routes.iter().filter(|route| keep(&route.methods));
            kept.copied().collect::<Vec<_>>()
        };
        let mut made = Vec::new();
        let other = shared(&mut made, of(&|methods| !matches!(methods, Methods::Only(_))));
        let named = methods(routes.iter().copied()).into_iter().map(|method| {
            let mut routes = of(&|methods| methods.contains(&method));
            routes.extend(of(&|methods| !methods.contains(&method) && methods.answers(&method)));
            (method, shared(&mut made, routes))
        });
        Trees { named: named.collect(), other }
    }
}

/// A tree with the routes that led to it.
type Made<'a, T> = (Vec<&'a Arc<Route<T>>>, Arc<Tree<T>>);

/// The tree of some routes: the one that was made of the same routes, if there is one.
fn shared<'a, T>(made: &mut Vec<Made<'a, T>>, routes: Vec<&'a Arc<Route<T>>>) -> Arc<Tree<T>> {
    let same = |other: &[&Arc<Route<T>>]| {
        other.len() == routes.len() && other.iter().zip(&routes).all(|(a, b)| Arc::ptr_eq(a, b))
    };
    if let Some((_, tree)) = made.iter().find(|(other, _)| same(other)) {
        return Arc::clone(tree);
    }
    let tree = Arc::new(tree(&routes));
    made.push((routes, Arc::clone(&tree)));
    tree
}

/// The tree for one method, or for all that no route names. Of routes with the same shape, the
/// first is taken.
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
            // The tree takes all routes that `Clashes` lets through; should it not, no route is
            // dropped in silence.
            tracing::error!(route = route.pattern(), %error, "a route is not served");
        }
    }
    tree
}
