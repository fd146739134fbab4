use super::{
    super::{ChangeError, ReadError, table::PIN_KEY},
    *,
};

const PIN: &[u8] = b"2580";

#[test]
fn a_pin_is_recognised_until_it_is_changed_or_removed() {
    let device = Device::new();
    assert!(!device.reader.has_pin().unwrap());
    // None is not the empty one.
    assert!(!device.reader.is_pin(b"").unwrap());
    device.writer.keyholder().set_pin(Some(PIN)).unwrap();
    let device = device.restarted();
    assert!(device.reader.has_pin().unwrap());
    assert!(device.reader.is_pin(PIN).unwrap());
    assert!(!device.reader.is_pin(b"2581").unwrap() && !device.reader.is_pin(SECRET).unwrap());
    device.writer.keyholder().set_pin(Some(b"1379")).unwrap();
    assert!(device.reader.is_pin(b"1379").unwrap() && !device.reader.is_pin(PIN).unwrap());
    device.writer.keyholder().set_pin(None).unwrap();
    let device = device.restarted();
    assert!(!device.reader.has_pin().unwrap() && !device.reader.is_pin(b"1379").unwrap());
}

#[test]
fn what_a_pin_is_recognised_by_is_new_each_time_and_sealed() {
    let device = Device::new();
    let row = || {
        let rows = raw_rows_while_open(&device, Table::Own);
        rows.into_iter().find(|(row_key, _)| *row_key == PIN_KEY).map(|(_, value)| value).unwrap()
    };
    device.writer.keyholder().set_pin(Some(PIN)).unwrap();
    let first = row();
    device.writer.keyholder().set_pin(Some(PIN)).unwrap();
    let second = row();
    assert_ne!(first, second);
    assert!(!first.windows(PIN.len()).any(|bytes| bytes == PIN));
}

#[test]
fn a_locked_store_has_no_pin_to_ask_for() {
    let device = Device::new();
    device.writer.keyholder().set_pin(Some(PIN)).unwrap();
    device.reader.revoke();
    assert_eq!(device.reader.is_pin(PIN), Err(ReadError::Locked));
    assert_eq!(device.writer.keyholder().set_pin(None), Err(ChangeError::Locked));
}

#[test]
fn a_pin_that_cannot_be_written_leaves_the_old_one() {
    let (device, faults) = Device::on_false_disk();
    device.writer.keyholder().set_pin(Some(PIN)).unwrap();
    faults.set_writes_fail(true);
    assert!(device.writer.keyholder().set_pin(Some(b"1379")).is_err());
    faults.set_writes_fail(false);
    let device = device.restarted();
    assert!(device.reader.is_pin(PIN).unwrap());
}
