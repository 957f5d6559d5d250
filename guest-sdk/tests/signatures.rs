//! A wrong signature is told in words that help.

#[test]
fn wrong_signatures_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
