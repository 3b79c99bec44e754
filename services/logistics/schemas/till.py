"""The answer to a station's till: the parcels at its site."""

from marshmallow import fields, validate

from shared.web import ResponseSchema


class ParcelResponse(ResponseSchema):
    """A parcel that waits for its buyer, with what a till needs to check the code while cut off."""

    shipment_id = fields.UUID(required=True)
    shipment_ref = fields.String(required=True)
    order_ref = fields.String(required=True)
    due_fen = fields.Integer(
        required=True, metadata={"description": "What the buyer pays on hand-over, in fen."}
    )
    code_salt = fields.String(required=True, metadata={"description": "Hexadecimal."})
    code_digest = fields.String(
        required=True,
        metadata={"description": "SHA-256 over the salt's bytes and the code's digits, in hex."},
    )
    code_locked = fields.Boolean(
        required=True,
        metadata={"description": "Too many wrong tries: hand over by name, with received_by."},
    )
    arrived_at = fields.AwareDateTime(required=True)


class StoppedParcelResponse(ResponseSchema):
    """A parcel that must not be handed over, since it carries a held or recalled lot."""

    shipment_id = fields.UUID(required=True)
    shipment_ref = fields.String(required=True)
    order_ref = fields.String(required=True)
    stopped = fields.String(
        required=True,
        validate=validate.OneOf(("held", "recalled")),
        metadata={"description": "`held`: keep the parcel. `recalled`: send it back."},
    )
    lots = fields.List(
        fields.String(), required=True, metadata={"description": "The codes of these lots."}
    )


class ParcelsResponse(ResponseSchema):
    """The parcels at the till's site, newest first: to hand over, and to keep back."""

    items = fields.List(fields.Nested(ParcelResponse), required=True)
    stopped = fields.List(fields.Nested(StoppedParcelResponse), required=True)
