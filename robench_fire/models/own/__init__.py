"""Networks of a user's own: how they are written, where their code is, what they take, what is checked beforehand."""
