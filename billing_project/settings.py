"""Settings of every process; what differs between machines comes from the environment."""

import sys
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from billing_project.api.logs import logging_config
from billing_project.kernel.locales import canonical_locale

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
LOCAL_DIR = Path(env.str("LOCAL_DIR", default=str(BASE_DIR / ".local")))  # Kept by this machine.

IS_TESTING = "pytest" in sys.modules
DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("SECRET_KEY must be set where DEBUG=False")
    SECRET_KEY = "only-for-development-" + "x" * 40
# Keys of before a rotation: what they signed (links to invoices, sessions) stays valid.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
BILLING_CLOCK = env.str("BILLING_CLOCK", default="")
if BILLING_CLOCK and not DEBUG:
    raise ImproperlyConfigured(
        "BILLING_CLOCK is for demo and tests only; unset it where DEBUG=False"
    )

INSTALLED_APPS = [
    "billing_project.console.site.BackOfficeConfig",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "simple_history",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "billing_project.kernel",
    "metering",
    "credits",
    "invoicing",
    "revrec",
    "billing_project.console",
    "billing_project.api",
]
MIDDLEWARE = [
    "billing_project.api.middleware.RequestLog",
    "billing_project.api.middleware.ProblemPages",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "billing_project.console.sign_in.middleware.SignedIn",
    "billing_project.console.viewing.ViewersZone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]
ROOT_URLCONF = "billing_project.urls"
WSGI_APPLICATION = "billing_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["billing_project.kernel.templatetags.moments"],
        },
    }
]

# One database: DATABASE_URL, or the embedded PostgreSQL with its data in .local/pg.
EMBEDDED_ENGINE = "billing_project.kernel.embedded"
EMBEDDED_DATA = env.path("EMBEDDED_PG_DATA", default=str(LOCAL_DIR / "pg"))


def _database() -> dict[str, object]:
    url = env.str("DATABASE_URL", default="")
    if url:
        if not url.startswith(("postgres://", "postgresql://")):
            raise ImproperlyConfigured(
                "DATABASE_URL must start with postgresql:// (PostgreSQL is the one database)"
            )
        try:
            return {**env.db_url("DATABASE_URL"), "ENGINE": "billing_project.kernel.postgres"}
        except Exception as error:
            raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    if not DEBUG and not env.bool("ALLOW_EMBEDDED_DATABASE", default=False):
        raise ImproperlyConfigured(
            "DATABASE_URL must be set where DEBUG=False (or ALLOW_EMBEDDED_DATABASE=1, by name)"
        )
    return {
        "ENGINE": EMBEDDED_ENGINE,
        "NAME": env.str("EMBEDDED_PG_NAME", default="postgres"),
        "HOST": str(EMBEDDED_DATA),
    }


def _seals_name() -> str:
    """Name the folder of the seals: a second embedded database has its own."""
    name = "" if env.str("DATABASE_URL", default="") else env.str("EMBEDDED_PG_NAME", default="")
    return f"seals-{name}" if name not in ("", "postgres") else "seals"


DATABASES = {
    "default": {
        **_database(),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 2,
            "tcp_user_timeout": 5000,  # Milliseconds; a line that swallows everything is cut.
            "options": "-c timezone=UTC -c lock_timeout=10s"
            " -c idle_in_transaction_session_timeout=60s",
        },
    }
}
# Needs sessions of its own, or a pooler that knows prepared statements (PgBouncer 1.21 does).
PREPARED_STATEMENTS = env.bool("PREPARED_STATEMENTS", default=True)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "kernel.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = ["billing_project.formats"]
STATIC_URL = "static/"
# Collected where DEBUG is off; served straight from the apps where it is on.
STATIC_ROOT = None if DEBUG else env.path("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = False

# Behind TLS wherever DEBUG is off.
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
)
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = 8 * 3600

# Whoever failed so often in the last minutes waits: for one account, and from one address.
SIGN_IN_MINUTES = env.int("SIGN_IN_MINUTES", default=15)
SIGN_IN_TRIES_PER_ACCOUNT = env.int("SIGN_IN_TRIES_PER_ACCOUNT", default=5)
SIGN_IN_TRIES_PER_ADDRESS = env.int("SIGN_IN_TRIES_PER_ADDRESS", default=30)
# Whoever signs in to the back office needs an authenticator app; who has one is always asked.
SECOND_FACTOR = env.bool("SECOND_FACTOR", default=not DEBUG)
# Approving, closing, voiding and the like ask who is there after so many minutes; 0: never.
FRESH_SIGN_IN_MINUTES = env.int("FRESH_SIGN_IN_MINUTES", default=0 if DEBUG else 15)
SIGN_IN_AGAIN_URL = "console:sign_in_again"
# How many proxies of ours write X-Forwarded-For; what others wrote before them is not believed.
TRUSTED_PROXIES = env.int(
    "TRUSTED_PROXIES", default=1 if env.bool("BEHIND_PROXY", default=False) else 0
)

DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
SIMPLE_HISTORY_REVERT_DISABLED = True

# The queue is a doorbell: a lost or doubled task changes nothing.
Q_CLUSTER = {
    "name": "billing",
    "orm": "default",
    "workers": 5,  # Two runs of each of the two loops may overlap; one more for the calendar.
    "bulk": 1,
    "queue_limit": 5,
    "timeout": 300,
    "retry": 600,
    "max_attempts": 5,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 100,
    "poll": 0.5,
    "label": "Worker",
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["billing_project.kernel.rest.auth.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["billing_project.kernel.rest.auth.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["billing_project.kernel.rest.rendering.ExactJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["billing_project.kernel.rest.parsing.StrictJSONParser"],
    "EXCEPTION_HANDLER": "billing_project.kernel.rest.errors.problem_response",
    "DEFAULT_SCHEMA_CLASS": "billing_project.api.schema.ApiSchema",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Billing API",
    "DESCRIPTION": "Raw usage in; credits, invoices, revenue and their lineage out.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/v1",
    "POSTPROCESSING_HOOKS": [
        "billing_project.api.schema.allow_blank_once",
        "billing_project.api.schema.add_problems",
        "billing_project.api.webhook_schema.add_webhooks",
    ],
}
UNFOLD = {
    "SITE_TITLE": "Billing back office",
    "SITE_HEADER": "Billing",
    "SITE_SUBHEADER": "billing_project.console.viewing.subheader",
    "SITE_SYMBOL": "receipt_long",
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "billing_project.console.navigation.environment",
    "DASHBOARD_CALLBACK": "billing_project.console.home.dashboard",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": "billing_project.console.navigation.favicon",
        }
    ],
    "STYLES": ["billing_project.console.navigation.stylesheet"],
    "SCRIPTS": [
        "billing_project.console.navigation.icons_script",
        "billing_project.console.navigation.reach_script",
    ],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "navigation": "billing_project.console.navigation.sidebar",
    },
    "LOGIN": {"form": "billing_project.console.sign_in.forms.SignInForm"},
    "ACCOUNT": {"navigation": "billing_project.console.navigation.account_links"},
    "COMMAND": {"search_callback": "billing_project.console.search.find_anything"},
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        }
    },
}

# How figures and days are written for customers who have no locale of their own.
DEFAULT_LOCALE = canonical_locale(env.str("DEFAULT_LOCALE", default="en-US"))
# In which time zone the back office shows instants to those who chose none.
SELLER_TIME_ZONE = env.str("SELLER_TIME_ZONE", default="UTC")
# Who sells: the head of every invoice and credit note.
SELLER = {
    "name": env.str("SELLER_NAME", default="Example AI, Inc."),
    "country": env.str("SELLER_COUNTRY", default="US"),
    "details": env.list(
        "SELLER_DETAILS", default=["1 Harbor Street", "Springfield", "billing@seller.example"]
    ),
}

# Months of events that left the database; keep it as safe as the database itself.
ARCHIVE_DIR = env.path("ARCHIVE_DIR", default=str(LOCAL_DIR / "archive"))
# What the journal is sealed with at each close, and where the seals' files go. Both belong outside
# the database and its backups: they are what a restored or rewritten database is held against.
SEALING_KEY_FILE = env.path("SEALING_KEY_FILE", default=str(LOCAL_DIR / "sealing_key.pem"))
# Nothing is posted to a journal that is older than the newest seal there: one folder a database.
SEALS_DIR = env.path("SEALS_DIR", default=str(LOCAL_DIR / _seals_name()))
# Audit packs, for people to fetch; shared between web and worker. They may be removed at any time.
PACKS_DIR = env.path("PACKS_DIR", default=str(LOCAL_DIR / "packs"))
# Uploaded files of events, for the worker to read; shared between web and worker.
IMPORT_DIR = env.path("IMPORT_DIR", default=str(LOCAL_DIR / "imports"))
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=2 * 1024**3)
FILE_UPLOAD_HANDLERS = ["billing_project.kernel.backoffice.uploads.BoundedUpload"]

API_CALLS_PER_SECOND = env.int("API_CALLS_PER_SECOND", default=5000)  # Of a key and process.
EVENT_DAYS_BACK = env.int("EVENT_DAYS_BACK", default=35)
EVENT_MINUTES_AHEAD = env.int("EVENT_MINUTES_AHEAD", default=5)

# An alert is written down, logged as an error, and mailed to these people, once an episode.
AGGREGATION_LAG_LIMIT_SECONDS = env.int("AGGREGATION_LAG_LIMIT_SECONDS", default=60)
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
# Who answers for rates: mailed where usage has none.
PRODUCT_EMAILS = env.list("PRODUCT_EMAILS", default=ALERT_EMAILS)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="billing@localhost")
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 5
# Where customers reach us: the address in front of the links in their mails.
PUBLIC_URL = env.str("PUBLIC_URL", default="http://localhost:8000/")
MAIL_INVOICES = env.bool("MAIL_INVOICES", default=False)  # Each issued invoice, to its customer.
HOSTED_LINK_DAYS = env.int("HOSTED_LINK_DAYS", default=90)
if MAIL_INVOICES and not DEBUG and not PUBLIC_URL.startswith("https://"):
    raise ImproperlyConfigured("PUBLIC_URL must be an https address where MAIL_INVOICES=1")

# What was sent, or given up, is forgotten after so many days; 0 keeps it. What an endpoint missed
# while it was switched off can be sent for 30 days.
WEBHOOK_DAYS = env.int("WEBHOOK_DAYS", default=90)
if 0 < WEBHOOK_DAYS < 31 or WEBHOOK_DAYS < 0:
    raise ImproperlyConfigured("WEBHOOK_DAYS is 31 or more, or 0 to forget nothing")
# For demo and tests: webhooks go to receivers on this machine, by http too, and nowhere else.
WEBHOOKS_TO_LOOPBACK = env.bool("WEBHOOKS_TO_LOOPBACK", default=False)
if WEBHOOKS_TO_LOOPBACK and not DEBUG:
    raise ImproperlyConfigured("WEBHOOKS_TO_LOOPBACK is for demo and tests; unset it")

# Money through Stripe; without a key nothing is sent there and every webhook is refused.
STRIPE_API_KEY = env.str("STRIPE_API_KEY", default="")
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="")  # Elsewhere than Stripe: a fake of it.
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])  # Two while one rotates.
STRIPE_MIRROR = env.bool("STRIPE_MIRROR", default=False)  # Tell it of usage, grants and invoices.
STRIPE_TIMEOUT_SECONDS = env.int("STRIPE_TIMEOUT_SECONDS", default=20)
# Begins every idempotency key; two installations with one Stripe account need two of them.
STRIPE_NAMESPACE = env.str("STRIPE_NAMESPACE", default="billing")
STRIPE_RETURN_URL = env.str("STRIPE_RETURN_URL", default=f"{PUBLIC_URL.rstrip('/')}/invoice/back")
# Days to wait after the first declined payment, the second one, and so on; then people decide.
DUNNING_DAYS = [int(days) for days in env.list("DUNNING_DAYS", default=["1", "3", "5", "7"])]

LOGGING = logging_config(env.str("LOG_LEVEL", default="WARNING" if IS_TESTING else "INFO"))
