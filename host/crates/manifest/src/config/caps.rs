//! Caps: the most that a host or a tenant lets its functions' limits be.

use std::ops::RangeInclusive;

use lacewing_base::{LimitKey, Limits};

use crate::{
    App, Diagnostic, Findings, Function, Place,
    raw::{At, RawCaps, Whole},
};

/// Upper bounds on [`Limits`], each in the unit of its [`LimitKey`], and on what an app has.
///
/// Where there is no limit by default (`fuel`, `rate_per_s`), a cap sets one: a cap on `fuel` makes
/// every function count it. A cap on bodies holds for buffered and for streaming ones alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Caps {
    caps: [Option<u64>; LimitKey::COUNT],
    // Says where, for findings about the file; nothing depends on it once the file was read.
    #[serde(skip)]
    places: Vec<(LimitKey, Place)>,
    apps: [AppCap; AppKey::ALL.len()],
}

/// A bound on how many of something an app has.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AppCap {
    /// How many; `None` is no bound.
    pub most: Option<u64>,
    // As that of a limit.
    #[serde(skip)]
    place: Option<Place>,
}

/// A thing of which an app has many. The tenant is charged; an app over its cap is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppKey {
    /// Its functions: a registered one takes about a kilobyte, and metrics of its own. Key:
    /// `functions`. Default 1,000.
    Functions,
    /// The routes of all its functions: each swap makes the table of all of them. Key: `routes`.
    /// Default 5,000.
    Routes,
}

impl AppKey {
    /// Every key: `ALL[key as usize] == key`.
    pub const ALL: [AppKey; 2] = [AppKey::Functions, AppKey::Routes];

    /// The key as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            AppKey::Functions => "functions",
            AppKey::Routes => "routes",
        }
    }

    /// The range of a written value.
    pub fn range(self) -> RangeInclusive<u64> {
        1..=1_000_000
    }

    fn raw(self, raw: &RawCaps) -> Option<&At<Whole>> {
        match self {
            AppKey::Functions => raw.functions.as_ref(),
            AppKey::Routes => raw.routes.as_ref(),
        }
    }

    /// How many an app has, and where the one is written that is over a cap.
    fn count(self, app: &App, most: usize) -> (usize, Option<&Place>) {
        let functions = &app.functions;
        let routes = || functions.iter().flat_map(|function| &function.routes);
        match self {
            AppKey::Functions => (functions.len(), functions.get(most).map(|one| &one.place)),
            AppKey::Routes => (routes().count(), routes().nth(most).map(|one| &one.place)),
        }
    }
}

/// A limit that is set over its cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapViolation {
    /// The limit.
    pub key: LimitKey,
    /// The value, in the key's unit.
    pub value: u64,
    /// The range, in the key's unit.
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

    /// Sets the cap of a limit, in the key's unit. A value outside the key's range is brought into
    /// it.
    pub fn set(&mut self, key: LimitKey, cap: u64) {
        let range = key.range();
        self.caps[key as usize] = Some(cap.clamp(*range.start(), *range.end()));
    }

    /// The cap of what an app has.
    pub fn of_app(&self, key: AppKey) -> Option<u64> {
        self.apps[key as usize].most
    }

    /// Sets the cap of an app's count. A value outside the key's range is brought into it.
    pub fn set_of_app(&mut self, key: AppKey, most: u64) {
        let range = key.range();
        let most = Some(most.clamp(*range.start(), *range.end()));
        self.apps[key as usize] = AppCap { most, place: None };
    }

    /// Sets the caps that a host file names.
    pub(super) fn read(&mut self, raw: &RawCaps, findings: &mut Findings) {
        for key in AppKey::ALL {
            let Some(raw) = key.raw(raw) else { continue };
            if let Some(most) = findings.number(key.as_str(), raw, key.range()) {
                let place = Some(findings.place(&raw.span));
                self.apps[key as usize] = AppCap { most: Some(most), place };
            }
        }
        for (key, raw) in raw.written() {
            if let Some(cap) = findings.number(key.as_str(), raw, key.range()) {
                self.set(key, cap);
                self.places.retain(|(other, _)| *other != key);
                self.places.push((key, findings.place(&raw.span)));
            }
        }
    }

    /// The caps that are written and above those of `others`: each with the other, and with its
    /// place.
    pub(super) fn above<'a>(&'a self, others: &'a Caps) -> Vec<(u64, u64, &'a Place)> {
        let limits =
            self.places.iter().map(|(key, place)| (self.get(*key), others.get(*key), place));
        let apps = self.apps.iter().zip(&others.apps);
        let apps =
            apps.filter_map(|(own, other)| Some((own.most, other.most, own.place.as_ref()?)));
        let both = limits.chain(apps).filter_map(|(own, other, place)| Some((own?, other?, place)));
        both.filter(|(own, other, _)| own > other).collect()
    }

    /// A thing of which an app has too many. `owner` names the owner of these caps.
    pub(super) fn check_app(&self, app: &App, owner: &str) -> Vec<Diagnostic> {
        let check = |key: AppKey| {
            let AppCap { most, place: cap_place } = &self.apps[key as usize];
            let most = (*most)?;
            let (count, place) = key.count(app, usize::try_from(most).unwrap_or(usize::MAX));
            let (name, place) = (&app.name, place?);
            let message =
                format!("app `{name}` has {count} {}, over {owner} cap of {most}", key.as_str());
            let finding = Diagnostic::error(message).at(place);
            Some(match cap_place {
                Some(cap_place) => finding.related(cap_place, "the cap is here"),
                None => finding.help(format!(
                    "make several apps of it, or raise the cap in a host file: `caps.{} = {count}`",
                    key.as_str()
                )),
            })
        };
        AppKey::ALL.into_iter().filter_map(check).collect()
    }

    /// A manifest that is over its cap in some limits, all of which count as written.
    pub fn check(&self, limits: &Limits) -> Vec<CapViolation> {
        let violation = |key: &LimitKey| {
            let (value, cap) = (limits.get(*key)?, self.get(*key)?);
            let cap_place = self.place(*key);
            (value > cap).then_some(CapViolation { key: *key, value, cap, place: None, cap_place })
        };
        LimitKey::ALL.iter().filter_map(violation).collect()
    }

    /// Lowers the limits that a function has by default to the caps, and gives those that it sets
    /// itself over them.
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
