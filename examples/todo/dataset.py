"""What the seeded database holds, as plain values: the seeder writes them, the load generator knows them."""

from dataclasses import dataclass
from itertools import accumulate
from random import Random

DEFAULT_SEED = 2026
PASSWORD = "correct horse battery staple"  # noqa: S105  everybody's, in made-up data

TENANTS = ("acme", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbor")
TENANT_WEIGHTS = (24, 20, 15, 12, 10, 8, 6, 5)
PROJECTS_PER_TENANT = 10
USERS = 400
TASKS_OF_DAILY_USERS = (500, 800)
TASKS_OF_OCCASIONAL_USERS = (10, 60)

# One account in five works in the application every day; the others drop in now and then.
DAILY_USERS = 0.2

FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dina", "Emil", "Femi", "Gita", "Hugo", "Ines", "Jun", "Kofi", "Lena")
LAST_NAMES = ("Abe", "Brandt", "Costa", "Dahl", "Endo", "Fontaine", "Greco", "Haas", "Ito", "Jansen", "Kaur")


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    tenant_id: int
    full_name: str
    email: str
    is_admin: bool
    is_daily: bool


@dataclass(frozen=True, slots=True)
class ProjectSeed:
    id: int
    tenant_id: int
    name: str
    archived: bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """Ids are positions: account, project and task number n have the id n, from 1."""

    seed: int
    tenants: tuple[str, ...]
    accounts: tuple[Account, ...]
    projects: tuple[ProjectSeed, ...]
    task_owners: tuple[int, ...]
    task_projects: tuple[int, ...]

    def projects_of(self, tenant_id: int) -> tuple[ProjectSeed, ...]:
        return tuple(project for project in self.projects if project.tenant_id == tenant_id)

    def tasks_by_owner(self) -> dict[int, list[int]]:
        """Return the ids of everybody's tasks, newest first, without those in archived projects."""
        archived = {project.id for project in self.projects if project.archived}
        owned: dict[int, list[int]] = {account.id: [] for account in self.accounts}
        for task_id in range(len(self.task_owners), 0, -1):
            if self.task_projects[task_id - 1] not in archived:
                owned[self.task_owners[task_id - 1]].append(task_id)
        return owned


def describe(seed: int = DEFAULT_SEED, scale: float = 1.0) -> Dataset:
    """Return the data set for `seed`; `scale` is a factor on the number of users (not on tasks per user)."""
    rng = Random(f"dataset/{seed}")
    accounts = _accounts(rng, max(2 * len(TENANTS), round(USERS * scale)))
    projects = tuple(
        ProjectSeed(
            id=tenant * PROJECTS_PER_TENANT + number + 1,
            tenant_id=tenant + 1,
            name=f"{('Launch', 'Website', 'Mobile', 'Billing', 'Support')[number % 5]} {number + 1}",
            archived=number == PROJECTS_PER_TENANT - 1,
        )
        for tenant in range(len(TENANTS))
        for number in range(PROJECTS_PER_TENANT)
    )
    owners = _task_owners(rng, accounts)
    tenant_of = {account.id: account.tenant_id for account in accounts}
    weights = tuple(accumulate(1 / (number + 2) for number in range(PROJECTS_PER_TENANT)))
    numbers = rng.choices(range(PROJECTS_PER_TENANT), cum_weights=weights, k=len(owners))
    task_projects = tuple(
        (tenant_of[owner] - 1) * PROJECTS_PER_TENANT + number + 1
        for owner, number in zip(owners, numbers, strict=True)
    )
    return Dataset(seed, TENANTS, accounts, projects, owners, task_projects)


def _accounts(rng: Random, count: int) -> tuple[Account, ...]:
    """Return `count` accounts; the first two of every tenant use it daily and one of them administers it."""
    accounts: list[Account] = []
    for position in range(count):
        first_round = position < 2 * len(TENANTS)
        tenant = position % len(TENANTS) if first_round else _weighted(rng, TENANT_WEIGHTS)
        name = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
        accounts.append(
            Account(
                id=position + 1,
                tenant_id=tenant + 1,
                full_name=name,
                email=f"{name.replace(' ', '.').lower()}.{position + 1}@{TENANTS[tenant]}.example",
                is_admin=position < len(TENANTS),
                is_daily=first_round or rng.random() < DAILY_USERS * 0.8,
            )
        )
    return tuple(accounts)


def _task_owners(rng: Random, accounts: tuple[Account, ...]) -> tuple[int, ...]:
    """Return the owner of every task in the order of creation: everybody's tasks are interleaved."""
    owners: list[int] = []
    for account in accounts:
        low, high = TASKS_OF_DAILY_USERS if account.is_daily else TASKS_OF_OCCASIONAL_USERS
        owners.extend([account.id] * rng.randint(low, high))
    rng.shuffle(owners)
    return tuple(owners)


def _weighted(rng: Random, weights: tuple[int, ...]) -> int:
    return rng.choices(range(len(weights)), weights=weights)[0]
