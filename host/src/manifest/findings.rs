//! The findings about one text, while it is read.

use std::{ops::Range, ops::RangeInclusive, str::FromStr, sync::Arc};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::decode::{self, Decoded, MAX_FINDINGS};
use super::explain::explain;
use super::raw::Whole;
use super::source::name_like;
use super::spanned::At;
use super::{Diagnostic, ManifestText, Place};
use crate::name::InvalidName;

/// The most items of one array: a bound on the work that one file can make.
const MAX_ITEMS: usize = 1000;

/// The findings about one text.
pub(crate) struct Findings {
    text: Arc<ManifestText>,
    list: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn new(text: &Arc<ManifestText>) -> Findings {
        Findings { text: Arc::clone(text), list: Vec::new() }
    }

    /// Adds a finding about a place in the text.
    pub(crate) fn at(&mut self, span: &Range<usize>, finding: Diagnostic) {
        let finding = finding.at(&self.place(span));
        self.list.push(finding);
    }

    /// Adds a finding about the text as a whole.
    pub(crate) fn whole(&mut self, finding: Diagnostic) {
        let finding = finding.in_file(self.text.path());
        self.list.push(finding);
    }

    /// Adds findings that say their places themselves.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        self.list.extend(findings);
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        self.text.place(span.clone())
    }

    /// Parses and decodes the text. What is no TOML is not decoded, because what the parser makes of it may be far
    /// from what was meant.
    pub(crate) fn decode<T: DeserializeOwned>(&mut self) -> Option<Decoded<T>> {
        let text = Arc::clone(&self.text);
        let (table, errors) = DeTable::parse_recoverable(text.text());
        if !errors.is_empty() {
            for error in errors.iter().take(MAX_FINDINGS) {
                let span = error.span().unwrap_or(0..0);
                self.at(&span, Diagnostic::error(format!("this is not TOML: {}", error.message())));
            }
            return None;
        }
        let span = table.span();
        let mut root = toml::Spanned::new(span, DeValue::Table(table.into_inner()));
        decode::decode(&mut root, |error, value| self.list.push(explain(&text, error, value)))
    }

    /// A whole number that has to be in a range.
    pub(crate) fn number(
        &mut self,
        key: &str,
        raw: &At<Whole>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        if let Some(number) =
            u64::try_from(raw.value.0).ok().filter(|number| range.contains(number))
        {
            return Some(number);
        }
        let (start, end) = range.into_inner();
        let found = match raw.value.0 {
            i128::MIN | i128::MAX => "so large a number".to_owned(),
            number => number.to_string(),
        };
        let finding = Diagnostic::error(format!("`{key}` takes {start} to {end}, not {found}"));
        self.at(&raw.span, finding);
        None
    }

    /// The items of an array, as many as there may be.
    pub(crate) fn bounded<'a, T>(&mut self, key: &str, items: &'a [At<T>]) -> &'a [At<T>] {
        let Some(first) = items.get(MAX_ITEMS) else { return items };
        let message = format!("`{key}` has {} items, and takes {MAX_ITEMS}", items.len());
        self.at(&first.span, Diagnostic::error(message));
        &items[..MAX_ITEMS]
    }

    /// The name of a tenant, app or function.
    pub(crate) fn name<T: FromStr<Err = InvalidName>>(&mut self, raw: &At<String>) -> Option<T> {
        let error = match raw.value.parse() {
            Ok(name) => return Some(name),
            Err(error) => error,
        };
        let finding =
            Diagnostic::error(error.to_string()).help(format!("write `{}`", name_like(&raw.value)));
        self.at(&raw.span, finding);
        None
    }

    /// The findings, this text's before other files', with what was read, or without it if one of them refuses it.
    pub(crate) fn conclude<T>(
        mut self,
        value: Option<T>,
    ) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        let text = Arc::clone(&self.text);
        self.list.sort_by_cached_key(|finding| {
            let file = finding.file.clone().filter(|file| file != text.path());
            (file, finding.place.as_ref().map(Place::offset))
        });
        match value {
            Some(value) if !self.list.iter().any(Diagnostic::is_error) => Ok((value, self.list)),
            _ => Err(self.list),
        }
    }

    /// Whether one of them refuses the text.
    pub(crate) fn refuse(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }
}
