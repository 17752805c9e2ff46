"""/health: what a container's or a load balancer's look at the page finds."""

import httpx


def test_health_tells_that_it_is_well_and_of_what(page_server):
    answer = httpx.get(f"{page_server.url}health")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["status"], told["model"], told["replicas"]) == ("ok", "tiny", 1)
    assert told["writing"] >= 0
    assert told["waiting"] >= 0


def test_without_being_asked_for_metrics_are_not_there(page_server):
    assert httpx.get(f"{page_server.url}metrics").status_code == 404
