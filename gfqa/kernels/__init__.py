"""Operations with a plain definition and fast forms: one folder each, the same signature in every form."""
