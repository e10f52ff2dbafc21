"""AutoAttack's sets as (attack, block of images) units: what each attacks, and how broken images leave."""
