"""Sign-in's own pages. Of allauth's many only those are here that a setting has switched on."""

from __future__ import annotations

from allauth.account import views as account
from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/login/", RedirectView.as_view(pattern_name="admin:login", query_string=True), name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path("accounts/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
]
if settings.SECOND_FACTOR != "OFF":
    urlpatterns.append(path("accounts/2fa/", include("allauth.mfa.urls")))
if settings.OIDC_SERVER_URL:
    # Imported here: allauth has models for them only where they are switched on.
    from allauth.socialaccount.providers.openid_connect import views as openid_connect

    from marketmon.sign_in.oidc import in_words

    login, callback = in_words(openid_connect.login), in_words(openid_connect.callback)
    urlpatterns += [
        path("accounts/3rdparty/", include("allauth.socialaccount.urls")),
        path("accounts/oidc/<str:provider_id>/login/", login, name="openid_connect_login"),
        path("accounts/oidc/<str:provider_id>/login/callback/", callback, name="openid_connect_callback"),
    ]
