# ruff: noqa: E501  # cells on one line
"""Cells that use libraries: the standard one, and what people do science with."""

from __future__ import annotations

from tests.corpus.cases import Case

CASES = {
    "files in the working folder": Case(
        """
folder = Path("corpus_data")
folder.mkdir(exist_ok=True)
with open(folder / "a.csv", "w", newline="") as f:
    writer = csv.writer(f)
    writer.writerows([["name", "n"], ["a", 1], ["b", 2]])
rows = list(csv.DictReader(io.StringIO((folder / "a.csv").read_text())))
answer = [rows[1]["n"], sorted(p.name for p in folder.iterdir())]
""",
        ("import csv, io\nfrom pathlib import Path",),
    ),
    "collections and itertools": Case(
        """
words = "the cat the dog the end".split()
groups = defaultdict(list)
for word in words:
    groups[len(word)].append(word)
answer = [Counter(words).most_common(1), list(map(list, combinations("abc", 2))), dict(groups)]
""",
        ("from collections import Counter, defaultdict\nfrom itertools import combinations",),
    ),
    "numbers and dates": Case(
        "print(Decimal('0.1') + Decimal('0.2'), Fraction(1, 3) * 3, 2 ** 100, 1j * 1j)\n"
        "print(date(2024, 2, 28) + timedelta(days=2), datetime(2024, 1, 1, tzinfo=timezone.utc).isoformat())",
        (
            "from decimal import Decimal\nfrom fractions import Fraction\n"
            "from datetime import date, datetime, timedelta, timezone",
        ),
    ),
    "expressions over text": Case(
        "answer = [m.group('user') for m in map(pattern.match, ['me@here', 'nobody']) if m]",
        ("import re", "pattern = re.compile(r'(?P<user>\\w+)@(\\w+)')"),
    ),
    "a seed": Case(
        "random.seed(7)\nanswer = [random.randint(0, 99) for _ in range(5)]", ("import random",)
    ),
    "threads": Case(
        """
results = []
def work(n):
    results.append(n * n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
with ThreadPoolExecutor(2) as pool:
    more = list(pool.map(square, range(4)))
answer = [sorted(results), more]
""",
        (
            "import threading\nfrom concurrent.futures import ThreadPoolExecutor",
            "def square(n):\n    return n * n",
        ),
    ),
    "processes": Case(
        "answer = []\nwith mp.get_context('fork').Pool(2) as pool:\n    answer += pool.map(square, range(5))",
        ("import multiprocessing as mp", "def square(n):\n    return n * n"),
    ),
    "another program": Case(
        "done = subprocess.run(['echo', 'hello'], capture_output=True, text=True, check=True)\n"
        "answer = done.stdout\nsubprocess.run(['false'], check=True)",
        ("import subprocess",),
    ),
    "logging": Case(
        "log = logging.getLogger('corpus')\nlog.setLevel(logging.INFO)\nlog.handlers[:] = [logging.StreamHandler(sys.stdout)]\n"
        "log.propagate = False\nlog.info('epoch %d', 3)\nlog.debug('not shown')",
        ("import logging, sys",),
    ),
    "the error stream": Case(
        "import sys\nprint('err', 1, sep='-', file=sys.stderr)\nsys.stderr.write('end\\n')"
    ),
    "a table as text": Case(
        "print(f'{\"name\":<8}|{\"n\":>4}')\nfor r in rows:\n    print(f\"{r['name']:<8}|{r['n']:>4}\")",
        ("rows = [{'name': 'a', 'n': 1}, {'name': 'b', 'n': 22}]",),
    ),
    "a module of the project": Case(
        "print(corpus_helper.half(8))\nanswer = double(4)\ncorpus_helper.half(3)",
        (
            "import os, sys\nfrom pathlib import Path\n"
            "Path('corpus_helper.py').write_text('def half(n):\\n    if n % 2:\\n        raise ValueError(n)\\n    return n // 2\\n\\ndef double(n):\\n    return 2 * n\\n')\n"
            "sys.path.insert(0, os.getcwd())",
            "import corpus_helper\nfrom corpus_helper import double",
        ),
    ),
    # -- NumPy, pandas, scikit-learn, matplotlib, torch
    "numpy": Case(
        """
rng = np.random.default_rng(0)
a = rng.normal(size=(3, 4)).astype(np.float32)
print(a.shape, a.dtype, np.round(a.mean(axis=0), 3))
answer = [float(np.linalg.norm(np.eye(3) @ np.arange(3))), (a > 0).sum().item()]
np.zeros((2, 3)) @ np.zeros((2, 3))
""",
        ("import numpy as np",),
        needs=("numpy",),
    ),
    "pandas": Case(
        """
df = pd.DataFrame({"city": ["a", "b", "a"], "n": [1, 2, 3]})
df["share"] = df.groupby("city")["n"].transform(lambda s: s / s.sum())
print(df.describe().round(2))
print(df[df.n > 1].sort_values("n", ascending=False).to_string())
answer = df.groupby("city").n.sum().to_dict()
df["country"]
""",
        ("import pandas as pd",),
        needs=("pandas",),
    ),
    "pandas: a query with names of the notebook": Case(
        "answer = df.query('n >= @least and city in @wanted').n.tolist()\n"
        "def above(k):\n    return df.query('n > @k').n.tolist()\nprint(above(1))",
        (
            "import pandas as pd\nleast = 2\nwanted = ['a']",
            "df = pd.DataFrame({'city': ['a', 'b', 'a'], 'n': [1, 2, 3]})",
        ),
        needs=("pandas",),
    ),
    "scikit-learn": Case(
        """
X, y = make_classification(n_samples=80, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression())
model.fit(X_train, y_train)
print(classification_report(y_test, model.predict(X_test)))
answer = round(float(model.score(X_test, y_test)), 3)
""",
        (
            "from sklearn.datasets import make_classification\nfrom sklearn.linear_model import LogisticRegression\n"
            "from sklearn.metrics import classification_report\nfrom sklearn.model_selection import train_test_split\n"
            "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler",
        ),
        needs=("sklearn",),
    ),
    "matplotlib": Case(
        """
fig, ax = plt.subplots(figsize=(3, 2))
ax.plot(xs, [x ** 2 for x in xs], label="square")
ax.set_title("growth")
ax.legend()
fig.savefig("corpus_plot.png")
plt.close(fig)
with open("corpus_plot.png", "rb") as f:
    answer = [f.read(8) == b"\\x89PNG\\r\\n\\x1a\\n", ax.get_title(), len(ax.lines)]
""",
        ("import matplotlib.pyplot as plt\nxs = list(range(5))",),
        needs=("matplotlib",),
    ),
    "torch: a real training cell": Case(
        """
torch.manual_seed(0)
X = torch.linspace(-1, 1, 64).unsqueeze(1)
Y = 3 * X + 1
loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
net = Net(hidden=8)
optimizer = torch.optim.Adam(net.parameters(), lr=LR)
first = last = None
for epoch in range(30):
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(net(xb), yb)
        loss.backward()
        optimizer.step()
    first = first if first is not None else loss.item()
    last = loss.item()
    if epoch % 10 == 0:
        print(f"epoch {epoch}: loss {last:.3f}")
torch.save(net.state_dict(), "corpus_net.pt")
again = Net(hidden=8)
again.load_state_dict(torch.load("corpus_net.pt"))
answer = [last < first / 5, sum(p.numel() for p in net.parameters()), round(evaluate(again, X, Y), 2)]
""",
        (
            "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
            "from torch.utils.data import DataLoader, TensorDataset\nLR = 0.02",
            "class Block(nn.Module):\n    def __init__(self, n_in, n_out):\n        super().__init__()\n"
            "        self.linear = nn.Linear(n_in, n_out)\n    def forward(self, x):\n"
            "        return torch.relu(self.linear(x))",
            "class Net(nn.Module):\n    def __init__(self, hidden):\n        super().__init__()\n"
            "        self.body = nn.Sequential(Block(1, hidden), Block(hidden, hidden))\n"
            "        self.head = nn.Linear(hidden, 1)\n    def forward(self, x):\n"
            "        return self.head(self.body(x))",
            "@torch.no_grad()\ndef evaluate(model, X, Y):\n    model.eval()\n"
            "    return F.mse_loss(model(X), Y).item()",
        ),
        needs=("torch",),
    ),
    "torch: an error in forward": Case(
        "net = Net()\nnet(torch.zeros(2, 3))",
        (
            "import torch\nfrom torch import nn",
            "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            "        self.linear = nn.Linear(4, 1)\n    def forward(self, x):\n        return self.linear(x)",
        ),
        needs=("torch",),
    ),
}
