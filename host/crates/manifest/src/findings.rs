//! The findings about one text, while it is read.

use std::{ops::Range, ops::RangeInclusive, path::Path, str::FromStr, sync::Arc};

use lacewing_base::name::InvalidName;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::decode::{self, Decoded, Undecoded};
use super::explain::explain;
use super::raw::Whole;
use super::source::name_like;
use super::spanned::At;
use super::{Diagnostic, ManifestText, Place, Severity};

/// The most items of one array: a bound on the work that one file can make.
const MAX_ITEMS: usize = 1000;

/// The most findings of one file that are kept and shown. A person reads no more, and a file can
/// have a hundred thousand.
pub(crate) const MAX_FINDINGS: usize = 100;

/// As many findings as are shown, errors rather than warnings, and the number of those over that.
#[derive(Default)]
pub(crate) struct FirstFindings {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    more_errors: usize,
    more_warnings: usize,
    /// Whether there may be errors that were not looked for.
    is_cut: bool,
}

impl FirstFindings {
    pub(crate) fn push(&mut self, finding: Diagnostic) {
        let (kept, more) = match finding.severity {
            Severity::Error => (&mut self.errors, &mut self.more_errors),
            Severity::Warning => (&mut self.warnings, &mut self.more_warnings),
        };
        if kept.len() < MAX_FINDINGS { kept.push(finding) } else { *more += 1 }
    }

    /// Adds an error that is only written where it will be shown: it may quote much of the file.
    pub(crate) fn push_error(&mut self, write: impl FnOnce() -> Diagnostic) {
        if self.errors.len() < MAX_FINDINGS {
            self.errors.push(write());
        } else {
            self.more_errors += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.warnings.is_empty()
    }

    fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The findings about a file, its own before those about others, each in the order of the text;
    /// and how many more there are.
    pub(crate) fn into_list(mut self, file: &Path) -> Vec<Diagnostic> {
        let room = MAX_FINDINGS - self.errors.len();
        self.more_warnings += self.warnings.len().saturating_sub(room);
        self.warnings.truncate(room);
        let more = self.more().map(|finding| finding.in_file(file));
        let mut list = self.errors;
        list.append(&mut self.warnings);
        list.sort_by_cached_key(|finding| {
            let other = finding.file.clone().filter(|other| other != file);
            (other, finding.place.as_ref().map(Place::offset))
        });
        list.extend(more);
        list
    }

    fn more(&self) -> Option<Diagnostic> {
        let count = |number: usize, one: &str| match number {
            1 => format!("1 more {one}"),
            _ => format!("{number} more {one}s"),
        };
        let (errors, warnings) =
            (count(self.more_errors, "error"), count(self.more_warnings, "warning"));
        let message = match (self.more_errors, self.more_warnings) {
            _ if self.is_cut => {
                "there are more errors than these: correct these and try again".to_owned()
            }
            (0, 0) => return None,
            (0, _) => return Some(Diagnostic::warning(format!("and {warnings}"))),
            (_, 0) => format!("and {errors}"),
            (_, _) => format!("and {errors}, and {warnings}"),
        };
        Some(Diagnostic::error(message))
    }
}

impl Extend<Diagnostic> for FirstFindings {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

/// The findings about one text.
pub(crate) struct Findings {
    text: Arc<ManifestText>,
    first: FirstFindings,
}

impl Findings {
    pub(crate) fn new(text: &Arc<ManifestText>) -> Findings {
        Findings { text: Arc::clone(text), first: FirstFindings::default() }
    }

    /// Adds a finding about a place in the text.
    pub(crate) fn at(&mut self, span: &Range<usize>, finding: Diagnostic) {
        let finding = finding.at(&self.place(span));
        self.first.push(finding);
    }

    /// Adds a finding about the text as a whole.
    pub(crate) fn whole(&mut self, finding: Diagnostic) {
        let finding = finding.in_file(self.text.path());
        self.first.push(finding);
    }

    /// Adds findings that say their places themselves.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Diagnostic>) {
        self.first.extend(findings);
    }

    /// Adds an error that says its place itself, and is only written where it will be shown.
    pub(crate) fn error(&mut self, write: impl FnOnce() -> Diagnostic) {
        self.first.push_error(write);
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        self.text.place(span.clone())
    }

    /// Parses and decodes the text. Text that is no TOML is not decoded, because the parser's
    /// reading of it may be far from its meaning.
    pub(crate) fn decode<T: DeserializeOwned>(&mut self) -> Option<Decoded<T>> {
        let text = Arc::clone(&self.text);
        let (table, errors) = DeTable::parse_recoverable(text.text());
        if !errors.is_empty() {
            for error in &errors {
                let place = self.place(&error.span().unwrap_or(0..0));
                let message = || format!("this is not TOML: {}", error.message());
                self.error(|| Diagnostic::error(message()).at(&place));
            }
            return None;
        }
        let span = table.span();
        let mut root = toml::Spanned::new(span, DeValue::Table(table.into_inner()));
        let first = &mut self.first;
        let bytes = text.text().len();
        let decoded = decode::decode(&mut root, bytes, |error, value| {
            first.push(explain(&text, error, value));
        });
        first.is_cut = matches!(decoded, Err(Undecoded::Cut));
        decoded.ok()
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

    /// The findings, this text's before other files', with what was read, or without it if one of
    /// them refuses it.
    pub(crate) fn conclude<T>(
        self,
        value: Option<T>,
    ) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        let refuse = self.refuse();
        let list = self.first.into_list(self.text.path());
        match value {
            Some(value) if !refuse => Ok((value, list)),
            _ => Err(list),
        }
    }

    /// Whether one of them refuses the text.
    pub(crate) fn refuse(&self) -> bool {
        self.first.has_errors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(errors: usize, warnings: usize) -> Vec<String> {
        let text = ManifestText::new("x.toml", "0123456789");
        let mut findings = Findings::new(&text);
        // Warnings first: an error is shown all the same.
        (0..warnings).for_each(|_| findings.at(&(1..2), Diagnostic::warning("odd")));
        (0..errors).for_each(|_| findings.at(&(0..1), Diagnostic::error("wrong")));
        let list = findings.conclude(Some(())).map_or_else(|list| list, |((), list)| list);
        assert!(list.len() <= MAX_FINDINGS + 1, "{}", list.len());
        list.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn the_first_hundred_are_kept_and_the_others_counted() {
        assert_eq!(list(1, 1), ["wrong", "odd"]);
        assert_eq!(list(60, 40).len(), 100);
        let last = |errors, warnings| list(errors, warnings).pop().unwrap();
        assert_eq!(last(60, 41), "and 1 more warning");
        assert_eq!(last(0, 150_000), "and 149900 more warnings");
        assert_eq!(last(101, 0), "and 1 more error");
        assert_eq!(last(150_000, 3), "and 149900 more errors, and 3 more warnings");
        assert_eq!(list(1, 1000)[0], "wrong");
    }
}
