use super::*;

#[test]
fn the_first_value_that_is_not_finite_is_found() {
    let mut values = vec![f32::MAX, f32::MIN, -0.0, f32::MIN_POSITIVE / 2.0];
    assert_eq!(first_not_finite(&values), None);
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        values.push(bad);
        assert_eq!(first_not_finite(&values), Some(4), "{bad}");
        values.truncate(4);
    }
}
