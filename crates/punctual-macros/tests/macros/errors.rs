//! What the compiler says to who makes a mistake. What it says now is accepted by `TRYBUILD=overwrite`.

#[test]
fn read_well() {
    trybuild::TestCases::new().compile_fail("tests/errors/*.rs");
}
