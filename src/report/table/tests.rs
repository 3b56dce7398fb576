use serde::Deserialize;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    One,
    TwoWords,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "id")]
    name: String,
    layer: u16,
    count: u64,
    sign: i8,
    lost: Option<i32>,
    value: f32,
    mean: Option<f64>,
    known: bool,
    kind: Kind,
    other: Option<Kind>,
    text: Option<String>,
}

fn rows() -> Vec<Row> {
    let row = Row {
        name: String::new(),
        layer: u16::MAX,
        count: u64::MAX,
        sign: -1,
        lost: None,
        value: f32::from_bits(0x7fc0_1234),
        mean: Some(f64::from_bits(0xfff8_0000_0000_0abc)),
        known: true,
        kind: Kind::TwoWords,
        other: Some(Kind::One),
        text: Some(String::new()),
    };
    let second = Row {
        name: "é\n\0".to_string(),
        lost: Some(i32::MIN),
        value: -0.0,
        mean: None,
        known: false,
        kind: Kind::One,
        other: None,
        text: None,
        ..row.clone()
    };
    let many = (0..2 * CHUNK as u64).map(|count| Row {
        count,
        value: 1.5,
        mean: Some(f64::MIN_POSITIVE),
        ..row.clone()
    });
    [row.clone(), second].into_iter().chain(many).collect()
}

fn bits(row: &Row) -> (u32, Option<u64>, Row) {
    let floats = (row.value.to_bits(), row.mean.map(f64::to_bits));
    let (value, mean) = (0.0, None);
    (
        floats.0,
        floats.1,
        Row {
            value,
            mean,
            ..row.clone()
        },
    )
}

#[test]
fn rows_come_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write_table(&path, rows()).unwrap();
    let found: Vec<Row> = read_table(&path).unwrap();
    let expected = rows();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(bits(found), bits(expected));
    }
    let mut joined = TableWriter::<Row>::create(&folder.path().join("joined"), "joined").unwrap();
    joined.push(&expected[0]).unwrap();
    joined.write(&expected[1..]).unwrap();
    joined.copy_from(&path).unwrap();
    joined.close().unwrap();
    let joined: Vec<Row> = read_table(&folder.path().join("joined")).unwrap();
    for (found, expected) in joined.iter().zip(expected.iter().chain(&expected)) {
        assert_eq!(bits(found), bits(expected));
    }
    assert_eq!(joined.len(), 2 * expected.len());
    assert!(table_bytes::<Row>("none", []).is_err(), "a table has rows");
}

#[test]
fn a_schema_is_that_of_its_struct() {
    let schema = schema_of::<Row>().unwrap();
    let columns = schema.fields().iter();
    let columns = columns.map(|column| {
        let null = if column.is_nullable() { "?" } else { "" };
        format!("{}: {}{null}", column.name(), column.data_type())
    });
    assert_eq!(
        columns.collect::<Vec<_>>().join(", "),
        "id: Utf8, layer: UInt16, count: UInt64, sign: Int8, lost: Int32?, value: Float32, mean: Float64?, \
         known: Boolean, kind: Utf8, other: Utf8?, text: Utf8?"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write_table(&path, rows()).unwrap();
    let file = Builder::try_new(File::open(&path).unwrap()).unwrap();
    assert_eq!(file.schema().fields(), schema.fields());
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    known: bool,
    layer: u16,
}

#[test]
fn some_columns_of_a_file_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write_table(&path, rows()).unwrap();
    let parts: Vec<Part> = read_table(&path).unwrap();
    assert!(parts[0].known && !parts[1].known && parts[1].layer == u16::MAX);
}

#[test]
fn errors_name_the_file_and_the_column() {
    #[derive(Serialize, Deserialize)]
    struct Absent {
        known: Option<bool>,
        layer: u16,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct OtherType {
        known: bool,
        layer: u32,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct OtherName {
        kind: Kind,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Words {
        kind: String,
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let said = |error: ReportError, words: &str| {
        let error = error.to_string();
        assert!(
            error.contains("rows.parquet") && error.contains(words),
            "{error}"
        );
    };
    let absent = Absent {
        known: None,
        layer: 1,
    };
    write_table(&path, [absent]).unwrap();
    said(
        read_table::<Part>(&path).unwrap_err(),
        "1 values of its column known are absent",
    );
    said(
        read_table::<OtherName>(&path).unwrap_err(),
        "no column kind of type Utf8",
    );
    let other = read_table::<OtherType>(&path).unwrap_err();
    said(other, "column layer is of type UInt16, not UInt32");
    write_table(
        &path,
        [Words {
            kind: "three".to_string(),
        }],
    )
    .unwrap();
    let unknown = read_table::<OtherName>(&path).unwrap_err().to_string();
    assert!(
        unknown.contains("three") && unknown.contains("kind"),
        "{unknown}"
    );
}
