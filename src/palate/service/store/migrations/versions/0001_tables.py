"""Tenants and keys, users with their logs, completions, models and posteriors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "models",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("identity", sa.String(length=128), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("identity", name=op.f("uq_models_identity")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tenants",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("tenant_id", NUMBER, nullable=False),
        sa.Column("public", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("scopes", sa.String(length=64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("ends", sa.Double(), nullable=True),
        sa.Column("per_second", sa.Double(), nullable=True),
        sa.Column("per_day", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_api_keys_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("public", name=op.f("uq_api_keys_public")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_api_keys_tenant_id"), "api_keys", ["tenant_id"], unique=False)
    op.create_table(
        "serving",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", NUMBER, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_serving_one")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_serving_model_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serving")),
    )
    op.create_table(
        "users",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("tenant_id", NUMBER, nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_users_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_users_tenant_id_name")),
        sqlite_autoincrement=True,
        postgresql_with={"fillfactor": 75},
    )
    op.create_table(
        "completions",
        sa.Column("tenant_id", NUMBER, nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("user_id", NUMBER, nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("candidates", sa.Text(), nullable=False),
        sa.Column("choice", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_completions_tenant_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_completions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_completions")),
    )
    op.create_index(op.f("ix_completions_created"), "completions", ["created"], unique=False)
    op.create_index(op.f("ix_completions_user_id"), "completions", ["user_id"], unique=False)
    op.create_table(
        "entries",
        sa.Column("user_id", NUMBER, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("idempotency", sa.String(length=256), nullable=True),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("chosen", sa.Text(), nullable=True),
        sa.Column("rejected", sa.Text(), nullable=True),
        sa.Column("time", sa.Double(), nullable=True),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.Column("tie", sa.Boolean(), nullable=True),
        sa.Column("origin", sa.String(length=32), nullable=True),
        sa.Column("completion", sa.String(length=256), nullable=True),
        sa.CheckConstraint(
            "(kind = 'answer') = (chosen IS NOT NULL)", name=op.f("ck_entries_chosen")
        ),
        sa.CheckConstraint(
            "(kind = 'answer') = (prompt IS NOT NULL)", name=op.f("ck_entries_prompt")
        ),
        sa.CheckConstraint(
            "(kind = 'answer') = (rejected IS NOT NULL)", name=op.f("ck_entries_rejected")
        ),
        sa.CheckConstraint("(kind = 'answer') = (target IS NULL)", name=op.f("ck_entries_target")),
        sa.CheckConstraint("(kind = 'answer') = (tie IS NOT NULL)", name=op.f("ck_entries_tie")),
        sa.CheckConstraint("(kind = 'answer') = (time IS NOT NULL)", name=op.f("ck_entries_time")),
        sa.CheckConstraint(
            "(kind = 'answer') = (weight IS NOT NULL)", name=op.f("ck_entries_weight")
        ),
        sa.CheckConstraint(
            "kind IN ('answer', 'withdrawal', 'expiry')", name=op.f("ck_entries_kind")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_entries_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "number", name=op.f("pk_entries")),
    )
    op.create_index(
        "ix_entries_once",
        "entries",
        ["user_id", "idempotency", "part"],
        unique=True,
        sqlite_where=sa.text("idempotency IS NOT NULL"),
        postgresql_where=sa.text("idempotency IS NOT NULL"),
    )
    op.create_index("ix_entries_received", "entries", ["received"], unique=False)
    op.create_table(
        "posteriors",
        sa.Column("user_id", NUMBER, nullable=False),
        sa.Column("model_id", NUMBER, nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("posterior", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_posteriors_model_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_posteriors_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "model_id", name=op.f("pk_posteriors")),
        postgresql_with={"fillfactor": 75},
    )
    op.create_table(
        "usage",
        sa.Column("key_id", NUMBER, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name=op.f("fk_usage_key_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", "day", name=op.f("pk_usage")),
    )
