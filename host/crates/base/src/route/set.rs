//! The routes of an app, or of all apps of a tenant, that stand side by side.

use std::collections::{HashMap, HashSet};

use super::{Route, clash::Clash, clash::Clashes};
use crate::HostPattern;

/// Routes by host name. Each route has a number, in the order in which routes are added.
///
/// Routes are added on trial. [`RouteSet::settle`] keeps them or takes them out again, so that an
/// app is taken whole.
#[derive(Debug, Default)]
pub struct RouteSet<'a> {
    hosts: HashSet<&'a HostPattern>,
    added: usize,
    settled: ByHost<'a>,
    /// Since the last [`RouteSet::settle`].
    trying: ByHost<'a>,
}

/// Routes by the host that they name.
#[derive(Debug, Default)]
struct ByHost<'a> {
    /// Those that name none.
    unnamed: Clashes<usize>,
    named: HashMap<&'a HostPattern, Clashes<usize>>,
    /// Of those that name one, all that stand beside those that name none.
    beside: Clashes<usize>,
}

impl<'a> ByHost<'a> {
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

    fn merge(&mut self, other: ByHost<'a>) {
        self.unnamed.merge(other.unnamed);
        self.beside.merge(other.beside);
        for (host, routes) in other.named {
            self.named.entry(host).or_default().merge(routes);
        }
    }
}

type Find<'f> = dyn Fn(&Clashes<usize>) -> Option<Clash<usize>> + 'f;

impl<'a> RouteSet<'a> {
    /// An empty set. Routes that name no host are served under all of `hosts`; an empty `hosts`
    /// stands for hosts that are not known yet.
    pub fn under(hosts: &'a [HostPattern]) -> RouteSet<'a> {
        RouteSet { hosts: hosts.iter().collect(), ..RouteSet::default() }
    }

    /// Adds a route under the next number, which is used up in either case.
    ///
    /// # Errors
    /// The clash with an earlier route; the route is not added.
    pub fn add(&mut self, route: &'a Route) -> Result<(), Clash<usize>> {
        let number = self.added;
        self.added += 1;
        let (shape, host) = (route.path.shape(), route.host.as_ref());
        // Whether the route is served beside those that name no host.
        let is_shared = host.is_some_and(|host| self.hosts.contains(host));
        let with = |routes: &Clashes<usize>| routes.find(&shape, &route.methods);
        let settled = self.settled.find(host, is_shared, &with);
        if let Some(clash) = settled.or_else(|| self.trying.find(host, is_shared, &with)) {
            return Err(clash);
        }
        if is_shared {
            self.trying.beside.insert(shape.clone(), &route.methods, number);
        }
        let routes = match host {
            None => &mut self.trying.unnamed,
            Some(host) => self.trying.named.entry(host).or_default(),
        };
        routes.insert(shape, &route.methods, number);
        Ok(())
    }

    /// Keeps the routes that were added since the last time, or takes them out again.
    pub fn settle(&mut self, keep: bool) {
        let tried = std::mem::take(&mut self.trying);
        if keep {
            self.settled.merge(tried);
        }
    }
}
