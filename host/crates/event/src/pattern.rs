//! Event patterns in the language of Amazon EventBridge.
