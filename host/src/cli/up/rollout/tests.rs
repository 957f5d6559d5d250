//! The lines of a rollout.

use super::*;

#[test]
fn of_an_app_with_thousands_of_errors_the_first_are_said() {
    let all = (0..15_000).map(|n| ("loud", n)).chain([("quiet", 1), ("quiet", 2)]);
    let (first, more) = first_of_each(all);
    assert_eq!(first, (0..20).chain([1, 2]).collect::<Vec<_>>());
    assert_eq!(more, BTreeMap::from([("loud", 14_980)]));
}
