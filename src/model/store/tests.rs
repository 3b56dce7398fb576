use candle_core::Tensor;

use super::values::first_not_finite;
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

#[test]
fn values_of_16_bits_are_the_same_as_stored_and_widened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let wide = Tensor::randn(0f32, 3.0, (300, 500), &Device::Cpu).unwrap();
    let tensors = [("f16", DType::F16), ("bf16", DType::BF16)];
    let tensors = tensors.map(|(name, dtype)| (name.to_string(), wide.to_dtype(dtype).unwrap()));
    candle_core::safetensors::save(&HashMap::from(tensors), &path).unwrap();
    let store = TensorStore::open_safetensors(&[path]).unwrap();
    for (name, dtype) in [("f16", DType::F16), ("bf16", DType::BF16)] {
        let widened = store.read_rows(name, 20..290).unwrap();
        let halves = store.read_halves(name, 20..290, dtype).unwrap();
        assert_eq!((halves.dtype(), halves.dims()), (dtype, widened.dims()));
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            values(&halves.to_dtype(DType::F32).unwrap()),
            values(&widened)
        );
    }
}
