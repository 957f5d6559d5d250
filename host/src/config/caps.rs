//! Caps: the most that a host or a tenant lets its functions' limits be.

use super::raw::RawCaps;
use crate::manifest::{Findings, Function, LimitKey, Limits, Place};

/// Upper bounds on [`Limits`], each in the unit of its [`LimitKey`].
///
/// Where there is no limit by default (`fuel`, `rate_per_s`), a cap sets one: a cap on `fuel` makes every function
/// count it. A cap on bodies holds for buffered and for streaming ones alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Caps {
    caps: [Option<u64>; LimitKey::COUNT],
    // Says where, for findings about the file; nothing depends on it once the file was read.
    #[serde(skip)]
    places: Vec<(LimitKey, Place)>,
}

/// A limit that is set over its cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapViolation {
    /// Which limit.
    pub key: LimitKey,
    /// What it is, in the key's unit.
    pub value: u64,
    /// What it may be, in the key's unit.
    pub cap: u64,
    /// Where the limit is written.
    pub place: Option<Place>,
    /// Where the cap is written, if it is.
    pub cap_place: Option<Place>,
}

impl Caps {
    /// No caps.
    pub fn none() -> Caps {
        Caps::default()
    }

    /// The cap of a limit, in the key's unit.
    pub fn get(&self, key: LimitKey) -> Option<u64> {
        self.caps[key as usize]
    }

    /// Sets the cap of a limit, in the key's unit. What is outside the key's range is brought into it.
    pub fn set(&mut self, key: LimitKey, cap: u64) {
        let range = key.range();
        self.caps[key as usize] = Some(cap.clamp(*range.start(), *range.end()));
    }

    /// Sets the caps that a host file names.
    pub(super) fn read(&mut self, raw: &RawCaps, findings: &mut Findings) {
        for (key, raw) in raw.0.written() {
            if let Some(cap) = findings.number(key.as_str(), raw, key.range()) {
                self.set(key, cap);
                self.places.retain(|(other, _)| *other != key);
                self.places.push((key, findings.place(&raw.span)));
            }
        }
    }

    /// The caps that are written, with their places.
    pub(super) fn written(&self) -> impl Iterator<Item = (LimitKey, u64, &Place)> {
        self.places.iter().filter_map(|(key, place)| Some((*key, self.get(*key)?, place)))
    }

    /// What is over its cap in some limits, all of which count as written.
    pub fn check(&self, limits: &Limits) -> Vec<CapViolation> {
        let violation = |key: &LimitKey| {
            let (value, cap) = (limits.get(*key)?, self.get(*key)?);
            let cap_place = self.place(*key);
            (value > cap).then_some(CapViolation { key: *key, value, cap, place: None, cap_place })
        };
        LimitKey::ALL.iter().filter_map(violation).collect()
    }

    /// Lowers the limits that a function has by default to the caps, and gives those that it sets itself over them.
    pub fn apply(&self, function: &mut Function) -> Vec<CapViolation> {
        let mut violations = Vec::new();
        for &key in LimitKey::ALL {
            let Some(cap) = self.get(key) else { continue };
            let value = function.limits.get(key);
            if value.is_some_and(|value| value <= cap) {
                continue;
            }
            let written = function.written_limits.iter().find(|(written, _)| *written == key);
            match (written, value) {
                (Some((_, place)), Some(value)) => {
                    let (place, cap_place) = (Some(place.clone()), self.place(key));
                    violations.push(CapViolation { key, value, cap, place, cap_place });
                }
                _ => function.limits.set(key, cap),
            }
        }
        violations
    }

    fn place(&self, key: LimitKey) -> Option<Place> {
        self.places.iter().find(|(written, _)| *written == key).map(|(_, place)| place.clone())
    }
}
