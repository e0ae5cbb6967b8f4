-- The spool of tessflux 3.0.0 after three readings for a database that was away, and one that it refused, as
-- `sqlite3 spool.db .dump` wrote it.
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE chunk (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, lines TEXT NOT NULL);
INSERT INTO chunk VALUES(3,3,replace('readings,name=stars0 seq=0.0,mag=12.34,freq=0.5,tamb=7.1,tsky=-18.4,wdBm=-61.0 1795771705408\nreadings,name=stars1 seq=1.0,mag=12.34,freq=1.5,tamb=7.1,tsky=-18.4,wdBm=-61.0 1795771705408\nreadings,name=stars2 seq=2.0,mag=12.34,freq=2.5,tamb=7.1,tsky=-18.4,wdBm=-61.0 1795771705408','\n',char(10)));
CREATE TABLE seen (id INTEGER PRIMARY KEY, readings INTEGER NOT NULL, entries TEXT NOT NULL);
INSERT INTO seen VALUES(3,3,'[["stars0",1795771705408,1130026732398487225],["stars1",1795771705408,608130959660581604],["stars2",1795771705408,951908078431832720]]');
CREATE TABLE photometer (name TEXT PRIMARY KEY, time INTEGER NOT NULL, identity INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL,
    photometer TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL, payload BLOB NOT NULL, retained INTEGER NOT NULL DEFAULT 0, again INTEGER NOT NULL DEFAULT 0);
INSERT INTO quarantine VALUES(1,1795771705408,'STARS4ALL/x/reading','stars9','implausible','mag = 99999.0',X'7b22736571223a392c2022726576223a322c20226e616d65223a22737461727339222c202266726571223a392e35302c20226d6167223a39393939392c202274616d62223a372e31302c202274736b79223a2d31382e34302c20227764426d223a2d36317d',0,0);
CREATE TABLE subscription (session TEXT NOT NULL, topic TEXT NOT NULL, PRIMARY KEY (session, topic))
    WITHOUT ROWID;
INSERT INTO subscription VALUES('observatory','STARS4ALL/+/reading');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('quarantine',1);
CREATE INDEX again ON quarantine (id) WHERE again;
COMMIT;
