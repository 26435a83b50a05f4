//! Parameters and columns of an author's statements. Parameters are sent as text, which PostgreSQL converts to the type
//! that the statement needs.

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::Source;
use crate::store::SqlValue;

#[derive(Debug)]
pub(super) struct Parameter<'a>(pub(super) &'a SqlValue);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Source> {
        match self.0 {
            SqlValue::Null => return Ok(IsNull::Yes),
            SqlValue::Boolean(value) => out.put_slice(if *value { b"true" } else { b"false" }),
            SqlValue::Integer(value) => out.put_slice(value.to_string().as_bytes()),
            SqlValue::Float(value) => out.put_slice(value.to_string().as_bytes()),
            SqlValue::Text(value) => out.put_slice(value.as_bytes()),
            SqlValue::Bytes(value) => {
                out.put_slice(b"\\x");
                for byte in value {
                    out.put_slice(format!("{byte:02x}").as_bytes());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A column, decoded by its type.
pub(super) struct Column(pub(super) SqlValue);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Source> {
        Ok(Self(match *ty {
            Type::BOOL => bool::from_sql(ty, raw)?.into(),
            Type::INT2 => i64::from(i16::from_sql(ty, raw)?).into(),
            Type::INT4 => i64::from(i32::from_sql(ty, raw)?).into(),
            Type::INT8 => i64::from_sql(ty, raw)?.into(),
            Type::FLOAT4 => f64::from(f32::from_sql(ty, raw)?).into(),
            Type::FLOAT8 => f64::from_sql(ty, raw)?.into(),
            Type::BYTEA => SqlValue::Bytes(raw.to_vec()),
            Type::UUID => uuid::Uuid::from_sql(ty, raw)?.to_string().into(),
            _ if <&str as FromSql<'_>>::accepts(ty) => <&str>::from_sql(ty, raw)?.into(),
            _ => return Err(format!("a column of type {ty} cannot be read; cast it to text").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Source> {
        Ok(Self(SqlValue::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
