//! tests

use super::*;

pub(crate) trait RequestVisitor {
    fn visit<R: Request>(&mut self);
}

struct Defaults(usize);

impl RequestVisitor for Defaults {
    fn visit<R: Request>(&mut self) {
        for version in R::VERSIONS {
            let mut writer = Writer::new();
            R::default().encode(&mut writer, version).unwrap();
            let bytes = writer.into_bytes().unwrap();
            let mut reader = Reader::new(bytes.clone());
            let back = R::decode(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            assert_eq!(back, R::default(), "{} v{version}", R::NAME);
            self.0 += 1;
        }
    }
}

#[test]
fn defaults_come_back() {
    let mut defaults = Defaults(0);
    for_each_request(&mut defaults);
    assert!(defaults.0 > 100);
}
