//! The states of the capabilities that one guest has called.

use std::any::Any;

use super::extension::Capability;

/// The states, in the order of their first calls. A guest uses few capabilities, so a list is fast
/// enough.
#[derive(Default)]
pub(crate) struct OpenedCapabilities(Vec<One>);

struct One {
    state: Box<dyn Any + Send>,
    per_invocation: bool,
}

impl OpenedCapabilities {
    /// Whether the guest has called no capability yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state of `C`, which `open` makes if the guest has not called it yet.
    pub(crate) fn get_or_open<C: Capability>(&mut self, open: impl FnOnce() -> C) -> &mut C {
        let at = self.0.iter().position(|one| one.state.is::<C>()).unwrap_or_else(|| {
            self.0.push(One { state: Box::new(open()), per_invocation: C::PER_INVOCATION });
            self.0.len() - 1
        });
        self.0[at].state.downcast_mut().expect("the position is that of a `C`")
    }

    /// The state of `C`, if the guest has called it.
    pub(crate) fn get<C: Capability>(&mut self) -> Option<&mut C> {
        self.0.iter_mut().find_map(|one| one.state.downcast_mut())
    }

    /// Another invocation begins in the same store: states of the last one go.
    pub(crate) fn begin_invocation(&mut self) {
        self.0.retain(|one| !one.per_invocation);
    }

    /// Drops all states.
    pub(crate) fn close(&mut self) {
        self.0.clear();
    }
}
