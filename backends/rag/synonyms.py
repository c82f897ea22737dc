"""Other words for the same thing, for the talk of accounts and billing: customers say "freeze", the page says "pause".

A line is a group of equals; in one with ``>`` the words on the left also look for those on the right, not the other way
round: "wallet" is about cards, "card" is not about wallets. They widen what is looked for at a lower weight, and never
change what the model reads. Irregular forms stand here too, since a stemmer does not know them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from backends.rag.words import key

_GROUPS = """
pause freeze suspend hold
cancel stop quit terminate end
annual yearly year
monthly month
subscription plan
bill invoice
pay paid
price cost fee pay expensive
cheap cheaper discount reduction save
tax vat
seat user member
guest client visitor
voucher coupon code
trial test try
support contact reach hotline
reply respond answer
email mail
phone call
refund money back
twice double duplicate
transfer wire
card visa mastercard amex
decline reject fail failed
reopen reactivate restore undo
delete remove erase
keep kept store stored
download export copy
upgrade switch change
downgrade switch change
school student teacher university education
charity nonprofit
refer recommend referral
reward credit
buy bought purchase
send sent
deadline due late
include contain
accountant bookkeeper accounting
limit maximum
start begin began
safe secure security
repeat retry
ban banned
gigabyte gb
gigabyte megabyte space room disk quota capacity > storage gb
file video photo drawing folder > storage file
project board > project board
quit leave left exit rid unsubscribe resign terminate contract > cancel
break rest interrupt interruption sabbatical vacation holiday sleep sleeping summer winter > pause
away absent ice > pause
frozen hold break > paused read-only
wake resume continue unfreeze itself > restart
twelve year > annual
month > monthly
upfront advance debit collect instalment sum > charge charged
save saving saved less cheaper worth advantage gain > percent saves
tier level package subscription > plan plans
bigger larger higher outgrow outgrew outgrown grow up mid middle > upgrade
smaller lower fewer shrink shrunk less down > downgrade
switch move change swap > switching change
menu page setting click button screen field > settings click
raise rise rose expensive dearer increase budget warn hear announce inform > price increase announced
guarantee fixed locked lock stable protected > keep price
net gross vat tax taxes > vat
settle owe > due payment pay
pdf copy document paper paperwork receipt print archive > invoice download
accountant bookkeeper finance treasurer adviser assistant recipient cc > copy addresses email
sender spam phishing genuine whitelist mailbox junk > come email
visible hidden secret access permission role right > see owners admins
rename renamed moved typo street address name > company address
past previous earlier last old > old future
po reference procurement purchasing > purchase order
human person complain problem trouble mailbox write wrote mailed > support team
ring telephone hotline talk speak hours line > phone
react quick fast soon hear heard urgent wait waiting delay > replies
reimburse reimbursed reimbursement repay undo give > refund
regret unhappy satisfied wrong > refund
late missed past exception > after window
decide approve approved approval pending granted decision > decided request
arrive arrived account payout > arrives money
exception exclude excluded extras add-on addon gift final non-refundable refundable > refunded storage gift
ban banned kicked thrown abuse fraud rules > closed abuse
two again second extra > duplicate
dispute object question complain recognise unknown incorrect mistake error false much > wrong report
lose lost waste extend longer added > added term
visit client freelancer outsider outside external agency contractor > guest guests
edit change work open read > projects read-only comment
erase erased wipe wiped vanish lost destroy retention gone disappear > kept data
backup dump save take format migrate > export
return revive undo regret restore back mistake again > reactivated
fee gratis > free cost fee
cheque cash bitcoin crypto cryptocurrency coins banknote gift prepaid > accepted cash cheques
option means method klarna debit sepa paypal > payment methods accepted
wire remittance bank sepa > transfer
subject purpose note message > reference transfers
wallet stolen lost plastic expired > card
runs remind reminder warn invalid > expiring reminder
bounce bounced empty balance insufficient unsuccessful attempt error problem > failed payment
shut block blocked lock locked lockout access suspend disabled unpaid > suspended account
penalty fine overdue behind surcharge delay > late fee
hacker thief steal stolen encrypted provider database safe guard store > card numbers provider stored
percentage rate gross > vat percent
overseas foreign abroad america american usa us canada australia asia africa > outside eu
swiss switzerland japan india continent europe european > outside eu
id > number
valid verify verified verification confirm confirmed pending active accepted > checked
business company firm > company companies
exempt exemption certificate proof paper museum church public > exempt tax-exempt
school university > tax-exempt schools
correct corrected retroactive afterwards > corrected old
hire hired person people colleague employee employees login head account intern joins join > seat seats members
invite bring access > members invitation add
quit fired retired leaver someone gone employee colleague > removed seats
minimum least smallest few alone > least seats
treasurer finance accountant rights permission powers > billing admins
boss founder partner > owner
handover handing transfer takeover successor appoint take retire > ownership owner transferred
test demo try look evaluate > trial
afterwards over end > ends trial
longer more prolong extra > extended
promo promotion discount > coupon codes
stack combine together several both top > combined
outdated expiry lifetime old expired > expires expire
volunteer foundation association ngo donation profit good cause club > nonprofits
student pupil phd lecturer professor class study academic > schools universities
package tier > plan plans
dear dearer costly steep > price
return returned cash money > refund refunded
purse > card
robbed leak leaked hacked theft worry > card numbers provider
stand still skip > pause paused
thank praise praised reward recommended > referral credit
head grow growing > seat seats
kid child children seminar semester thesis course teach teacher > schools universities
peek visitor > guests
broke door money ignore > suspended account failed
goodbye exit roll > cancel cancelled renewal
verdict review filed > decided request
slip > coupon code codes
friend neighbour brother acquaintance spread bring brought earn bonus > referral credit
cash payout paid > credit paid
"""


def synonyms(word_key: str) -> tuple[str, ...]:
    """The keys of other words for the word of that key."""
    return _table().get(word_key, ())


@cache
def asked_words() -> tuple[str, ...]:
    """All words that have others, as they are written."""
    return tuple(dict.fromkeys(word for line in _GROUPS.split("\n") for word in line.partition(">")[0].split()))


@cache
def _table() -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for line in _GROUPS.split("\n"):
        asked, _, meant = line.partition(">")
        for word in asked.split():
            others = (key(other) for other in (meant or asked).split())
            found[key(word)].update(dict.fromkeys(other for other in others if other != key(word)))
    return {word: tuple(others) for word, others in found.items()}
