"""Other words for the same thing, of use in any program's documents: what programmers shorten, and what users call otherwise.

What only one project says stands in its own documents. English; torch-free.
"""

from __future__ import annotations

ABBREVIATIONS = """
addr address
arg argument
attr attribute
auth authentication authorization
bg background
btn button
buf buffer
calc calculate
cb callback
cert certificate
cfg configuration
char character
cmd command
cnt count
col column
config configuration
conn connection
ctx context
cur current
db database
del delete
desc description
dest destination
dev development developer
dict dictionary
diff difference
dir directory
doc document documentation
elem element
env environment
err error
exec execute
expr expression
ext extension
fg foreground
fmt format
fn function
func function
gen generate
hdr header
http https
idx index
iface interface
img image
impl implementation
info information
init initialize initialise
int integer
iter iteration iterator
kw keyword
kwargs keyword
lang language
len length
lib library
max maximum
mem memory
mgr manager
min minimum
misc miscellaneous
msg message
num number
obj object
op operation
opt option
param parameter
passwd password
perm permission
pkg package
pkt packet
pos position
pref preference
prev previous
priv private
proc process
prop property
ptr pointer
pub public
pwd password
rand random
ref reference
reg register
regex expression
repo repository
req request
res response
resp response
rm remove
rng range
sec second
sep separator
seq sequence
sock socket
spec specification
src source
std standard
stmt statement
str string
sync synchronize
sys system
tbl table
temp temporary
tmp temporary
txt text
usr user
util utility
utils utility
val value
var variable
vec vector
ver version
"""
"""A line: what is written short, and what it is short for."""
GROUPS = """
size length long big large biggest largest
maximum max most biggest largest longest limit
minimum min least smallest shortest
delete remove drop erase clear discard
begin start first initial open
end stop finish last close exit quit
default preset initial
wait timeout delay sleep pause
last expire lifetime duration
error exception raise throw fail failure
function method procedure routine
argument parameter param option flag switch
setting option configuration config preference
make create build generate new
send post transmit submit
get fetch read receive download retrieve
upload send put
check verify validate test
set assign configure
address url host uri
count number amount many
name call title
try retry again repeat attempt
change modify update edit alter replace
show display print output
allow permit accept enable
forbid deny reject refuse disable
login authentication auth credential password
find search locate lookup
convert turn parse transform
skip ignore exempt bypass exclude
charset encoding
picture image icon
colour color
key shortcut binding
file path
old previous oldest
save store write persist
load read import
copy clone duplicate
join merge combine concatenate
split divide separate
random shuffle
speed rate fast
folder directory
"""
"""A line: words of a question and of a text that may mean the same; a word may stand in several."""
