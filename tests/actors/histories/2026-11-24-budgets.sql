BEGIN TRANSACTION;
CREATE TABLE calls (
        run TEXT NOT NULL, path TEXT NOT NULL, attempt INTEGER NOT NULL, step TEXT NOT NULL,
        agent TEXT, endpoint TEXT, failed INTEGER NOT NULL, code TEXT NOT NULL,
        cost INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (run, path, attempt)
    ) WITHOUT ROWID;
INSERT INTO "calls" VALUES('run_whole','plan.chain[0]',1,'plan.chain[0]',NULL,NULL,1,'Overloaded',0,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[0]',2,'plan.chain[0]',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[1]',1,'draft',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[2].parallel[0]',1,'plan.chain[2].parallel[0]',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[2].parallel[1].chain[0]',1,'plan.chain[2].parallel[1].chain[0]',NULL,'openai/s',0,'',12,0.75);
INSERT INTO "calls" VALUES('run_whole','plan.chain[2].parallel[1].chain[1]',1,'plan.chain[2].parallel[1].chain[1]',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[2].parallel[2]',1,'plan.chain[2].parallel[2]',NULL,'openai/s',0,'',12,1.0);
INSERT INTO "calls" VALUES('run_whole','plan.chain[2].parallel[3]',1,'plan.chain[2].parallel[3]',NULL,'openai/s',0,'',12,1.25);
INSERT INTO "calls" VALUES('run_whole','plan.chain[3].combine',1,'plan.chain[3].combine',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[3].delegate',1,'plan.chain[3].delegate',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[3].worker[0]',1,'plan.chain[3].worker',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[3].worker[1]',1,'plan.chain[3].worker',NULL,'openai/s',0,'',12,0.75);
INSERT INTO "calls" VALUES('run_whole','plan.chain[3].worker[2]',1,'plan.chain[3].worker',NULL,'openai/s',0,'',12,1.0);
INSERT INTO "calls" VALUES('run_whole','plan.chain[4].debate[0]@1',1,'plan.chain[4].debate[0]',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[4].debate[0]@2',1,'plan.chain[4].debate[0]',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[4].debate[1]@1',1,'plan.chain[4].debate[1]',NULL,'openai/s',0,'',12,0.75);
INSERT INTO "calls" VALUES('run_whole','plan.chain[4].debate[1]@2',1,'plan.chain[4].debate[1]',NULL,'openai/s',0,'',12,0.75);
INSERT INTO "calls" VALUES('run_whole','plan.chain[4].judge',1,'plan.chain[4].judge',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[5].fallback',1,'plan.chain[5].fallback',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[5].try',1,'plan.chain[5].try',NULL,'openai/s',0,'',12,0.5);
INSERT INTO "calls" VALUES('run_whole','plan.chain[6]',1,'plan.chain[6]',NULL,'openai/s',0,'',12,0.5);
CREATE TABLE events (
        run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, told BLOB NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
INSERT INTO "events" VALUES('run_cut',0,'started',CAST('{"step":"plan.chain[0]","attempt":1,"max_cost":300,"timeout":86400.0,"at":1795000000.25,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',1,'failed',CAST('{"step":"plan.chain[0]","attempt":1,"code":"Overloaded","message":"busy","again":true,"cost":0,"at":1795000000.75}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',2,'started',CAST('{"step":"plan.chain[0]","attempt":2,"max_cost":300,"timeout":86400.0,"at":1795000001.0,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',3,'finished',CAST('{"step":"plan.chain[0]","attempt":2,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000001.5}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',4,'started',CAST('{"step":"plan.chain[1]","attempt":1,"max_cost":288,"timeout":86400.0,"at":1795000001.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',5,'finished',CAST('{"step":"plan.chain[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000002.25}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',6,'started',CAST('{"step":"plan.chain[2].parallel[0]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',7,'started',CAST('{"step":"plan.chain[2].parallel[1].chain[0]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',8,'started',CAST('{"step":"plan.chain[2].parallel[2]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',9,'started',CAST('{"step":"plan.chain[2].parallel[3]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',10,'finished',CAST('{"step":"plan.chain[2].parallel[2]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.5}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',11,'finished',CAST('{"step":"plan.chain[2].parallel[1].chain[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.25}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',12,'finished',CAST('{"step":"plan.chain[2].parallel[3]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.75}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',13,'finished',CAST('{"step":"plan.chain[2].parallel[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',14,'started',CAST('{"step":"plan.chain[2].parallel[1].chain[1]","attempt":1,"max_cost":228,"timeout":86400.0,"at":1795000004.0,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',15,'finished',CAST('{"step":"plan.chain[2].parallel[1].chain[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000004.5}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',16,'started',CAST('{"step":"plan.chain[3].delegate","attempt":1,"max_cost":216,"timeout":86400.0,"at":1795000004.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',17,'finished',CAST('{"step":"plan.chain[3].delegate","attempt":1,"text":"[\"one\", \"two\", \"three\"]","cost":12,"endpoint":"openai/s","at":1795000005.25}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',18,'started',CAST('{"step":"plan.chain[3].worker[0]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',19,'started',CAST('{"step":"plan.chain[3].worker[1]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',20,'started',CAST('{"step":"plan.chain[3].worker[2]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',21,'finished',CAST('{"step":"plan.chain[3].worker[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',22,'finished',CAST('{"step":"plan.chain[3].worker[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.25}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',23,'finished',CAST('{"step":"plan.chain[3].worker[2]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.5}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',24,'started',CAST('{"step":"plan.chain[3].combine","attempt":1,"max_cost":168,"timeout":86400.0,"at":1795000006.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',25,'finished',CAST('{"step":"plan.chain[3].combine","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000007.25}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',26,'started',CAST('{"step":"plan.chain[4].debate[0]@1","attempt":1,"max_cost":78,"timeout":86400.0,"at":1795000007.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',27,'started',CAST('{"step":"plan.chain[4].debate[1]@1","attempt":1,"max_cost":78,"timeout":86400.0,"at":1795000007.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',28,'finished',CAST('{"step":"plan.chain[4].debate[0]@1","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000008.0}' AS BLOB));
INSERT INTO "events" VALUES('run_cut',29,'budget_reached',CAST('{"share":0.5,"spent":156,"at":1795000008.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',0,'started',CAST('{"step":"plan.chain[0]","attempt":1,"max_cost":300,"timeout":86400.0,"at":1795000000.25,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',1,'failed',CAST('{"step":"plan.chain[0]","attempt":1,"code":"Overloaded","message":"busy","again":true,"cost":0,"at":1795000000.75}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',2,'started',CAST('{"step":"plan.chain[0]","attempt":2,"max_cost":300,"timeout":86400.0,"at":1795000001.0,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',3,'finished',CAST('{"step":"plan.chain[0]","attempt":2,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000001.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',4,'started',CAST('{"step":"plan.chain[1]","attempt":1,"max_cost":288,"timeout":86400.0,"at":1795000001.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',5,'finished',CAST('{"step":"plan.chain[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000002.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',6,'started',CAST('{"step":"plan.chain[2].parallel[0]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',7,'started',CAST('{"step":"plan.chain[2].parallel[1].chain[0]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',8,'started',CAST('{"step":"plan.chain[2].parallel[2]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',9,'started',CAST('{"step":"plan.chain[2].parallel[3]","attempt":1,"max_cost":69,"timeout":86400.0,"at":1795000002.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',10,'finished',CAST('{"step":"plan.chain[2].parallel[3]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.75}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',11,'finished',CAST('{"step":"plan.chain[2].parallel[2]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',12,'finished',CAST('{"step":"plan.chain[2].parallel[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',13,'finished',CAST('{"step":"plan.chain[2].parallel[1].chain[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000003.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',14,'started',CAST('{"step":"plan.chain[2].parallel[1].chain[1]","attempt":1,"max_cost":228,"timeout":86400.0,"at":1795000004.0,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',15,'finished',CAST('{"step":"plan.chain[2].parallel[1].chain[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000004.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',16,'started',CAST('{"step":"plan.chain[3].delegate","attempt":1,"max_cost":216,"timeout":86400.0,"at":1795000004.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',17,'finished',CAST('{"step":"plan.chain[3].delegate","attempt":1,"text":"[\"one\", \"two\", \"three\"]","cost":12,"endpoint":"openai/s","at":1795000005.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',18,'started',CAST('{"step":"plan.chain[3].worker[0]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',19,'started',CAST('{"step":"plan.chain[3].worker[1]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',20,'started',CAST('{"step":"plan.chain[3].worker[2]","attempt":1,"max_cost":68,"timeout":86400.0,"at":1795000005.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',21,'finished',CAST('{"step":"plan.chain[3].worker[1]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',22,'finished',CAST('{"step":"plan.chain[3].worker[2]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',23,'finished',CAST('{"step":"plan.chain[3].worker[0]","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000006.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',24,'started',CAST('{"step":"plan.chain[3].combine","attempt":1,"max_cost":168,"timeout":86400.0,"at":1795000006.75,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',25,'finished',CAST('{"step":"plan.chain[3].combine","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000007.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',26,'started',CAST('{"step":"plan.chain[4].debate[0]@1","attempt":1,"max_cost":78,"timeout":86400.0,"at":1795000007.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',27,'started',CAST('{"step":"plan.chain[4].debate[1]@1","attempt":1,"max_cost":78,"timeout":86400.0,"at":1795000007.5,"used":0.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',28,'finished',CAST('{"step":"plan.chain[4].debate[0]@1","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000008.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',29,'finished',CAST('{"step":"plan.chain[4].debate[1]@1","attempt":1,"text":"I object.","cost":12,"endpoint":"openai/s","at":1795000008.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',30,'budget_reached',CAST('{"share":0.5,"spent":168,"at":1795000008.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',31,'started',CAST('{"step":"plan.chain[4].debate[0]@2","attempt":1,"max_cost":66,"timeout":86400.0,"at":1795000008.5,"used":0.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',32,'started',CAST('{"step":"plan.chain[4].debate[1]@2","attempt":1,"max_cost":66,"timeout":86400.0,"at":1795000008.5,"used":0.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',33,'finished',CAST('{"step":"plan.chain[4].debate[0]@2","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000009.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',34,'finished',CAST('{"step":"plan.chain[4].debate[1]@2","attempt":1,"text":"I object.","cost":12,"endpoint":"openai/s","at":1795000009.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',35,'started',CAST('{"step":"plan.chain[4].judge","attempt":1,"max_cost":108,"timeout":86400.0,"at":1795000009.5,"used":0.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',36,'finished',CAST('{"step":"plan.chain[4].judge","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000010.0}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',37,'started',CAST('{"step":"plan.chain[5].try","attempt":1,"max_cost":96,"timeout":86400.0,"at":1795000010.25,"used":0.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',38,'finished',CAST('{"step":"plan.chain[5].try","attempt":1,"text":"So it is.","cost":12,"endpoint":"openai/s","at":1795000010.75}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',39,'started',CAST('{"step":"plan.chain[5].fallback","attempt":1,"max_cost":84,"timeout":86400.0,"at":1795000011.0,"used":0.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',40,'finished',CAST('{"step":"plan.chain[5].fallback","attempt":1,"text":"Done otherwise.","cost":12,"endpoint":"openai/s","at":1795000011.5}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',41,'budget_reached',CAST('{"share":0.75,"spent":228,"at":1795000011.75}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',42,'started',CAST('{"step":"plan.chain[6]","attempt":1,"max_cost":72,"timeout":86400.0,"at":1795000011.75,"used":0.75}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',43,'finished',CAST('{"step":"plan.chain[6]","attempt":1,"text":"The end.","cost":12,"endpoint":"openai/s","at":1795000012.25}' AS BLOB));
INSERT INTO "events" VALUES('run_whole',44,'ended',CAST('{"status":"completed","at":1795000012.5,"text":"The end.","confidence":null,"alternatives":[],"step":"","code":"","message":""}' AS BLOB));
CREATE TABLE meta (epoch INTEGER NOT NULL);
INSERT INTO "meta" VALUES(2);
CREATE TABLE outbox (
        run TEXT PRIMARY KEY, url TEXT NOT NULL, delivery TEXT NOT NULL,
        attempts INTEGER NOT NULL, error TEXT NOT NULL, since REAL, due_at REAL
    );
INSERT INTO "outbox" VALUES('run_whole','https://hooks.example.com/x','pending',0,'',1795000012.5,1795000012.5);
CREATE TABLE runs (
        id TEXT PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL,
        ended_at REAL, told BLOB NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "runs" VALUES('run_cut','acme','workflow',1795000000.0,NULL,CAST('{"id":"run_cut","kind":"workflow","name":"","caller":{"key_name":"alice","account":"acme","allowed_models":null,"admin":false,"metrics":false},"plan":{"plan":{"chain":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9,"attempts":2},{"prompt":"say {{previous}}","model":"sim","max_tokens":9,"id":"draft"},{"parallel":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"chain":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"say {{previous}}","model":"sim","max_tokens":9}]},{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"say {{previous}}","model":"sim","max_tokens":9}],"aggregate":"vote"},{"delegate":{"prompt":"split into {{width}}","model":"sim","max_tokens":9},"worker":{"prompt":"work on {{task}}","model":"sim","max_tokens":9},"combine":{"prompt":"combine {{answers}}","model":"sim","max_tokens":9},"width":3},{"debate":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"object to {{answers}}","model":"sim","max_tokens":9}],"rounds":2,"judge":{"prompt":"judge {{answers}}","model":"sim","max_tokens":9}},{"try":{"prompt":"try {{draft}}","model":"sim","max_tokens":9},"check":{"contains":["never said"],"judge":{"prompt":"say {{previous}}","model":"sim","max_tokens":9}},"fallback":{"prompt":"instead of {{failed}}: {{failure}}","model":"sim","max_tokens":9}},{"prompt":"end with {{previous}}","model":"sim","max_tokens":9}]}},"input":"it","budget":300,"created_at":1795000000.0,"deadline_at":1796000000.0,"webhook":null,"alerts":[50,75,90]}' AS BLOB));
INSERT INTO "runs" VALUES('run_whole','acme','workflow',1795000000.0,1795000012.5,CAST('{"id":"run_whole","kind":"workflow","name":"","caller":{"key_name":"alice","account":"acme","allowed_models":null,"admin":false,"metrics":false},"plan":{"plan":{"chain":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9,"attempts":2},{"prompt":"say {{previous}}","model":"sim","max_tokens":9,"id":"draft"},{"parallel":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"chain":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"say {{previous}}","model":"sim","max_tokens":9}]},{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"say {{previous}}","model":"sim","max_tokens":9}],"aggregate":"vote"},{"delegate":{"prompt":"split into {{width}}","model":"sim","max_tokens":9},"worker":{"prompt":"work on {{task}}","model":"sim","max_tokens":9},"combine":{"prompt":"combine {{answers}}","model":"sim","max_tokens":9},"width":3},{"debate":[{"prompt":"say {{previous}}","model":"sim","max_tokens":9},{"prompt":"object to {{answers}}","model":"sim","max_tokens":9}],"rounds":2,"judge":{"prompt":"judge {{answers}}","model":"sim","max_tokens":9}},{"try":{"prompt":"try {{draft}}","model":"sim","max_tokens":9},"check":{"contains":["never said"],"judge":{"prompt":"say {{previous}}","model":"sim","max_tokens":9}},"fallback":{"prompt":"instead of {{failed}}: {{failure}}","model":"sim","max_tokens":9}},{"prompt":"end with {{previous}}","model":"sim","max_tokens":9}]}},"input":"it","budget":300,"created_at":1795000000.0,"deadline_at":1796000000.0,"webhook":"https://hooks.example.com/x","alerts":[50,75,90]}' AS BLOB));
CREATE TABLE standings (
        run TEXT PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        at REAL NOT NULL, deadline_at REAL NOT NULL, budget INTEGER,
        status TEXT NOT NULL, cost INTEGER NOT NULL, calls INTEGER NOT NULL,
        ended_at REAL, code TEXT NOT NULL, ended BLOB
    );
INSERT INTO "standings" VALUES('run_whole','acme','workflow','',1795000000.0,1796000000.0,300,'completed',240,20,1795000012.5,'',CAST('{"status":"completed","at":1795000012.5,"text":"The end.","confidence":null,"alternatives":[],"step":"","code":"","message":""}' AS BLOB));
INSERT INTO "standings" VALUES('run_cut','acme','workflow','',1795000000.0,1796000000.0,300,'processing',0,0,NULL,'',NULL);
CREATE INDEX in_progress ON runs (at) WHERE ended_at IS NULL;
CREATE INDEX by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX latest ON standings (account, kind, at, run);
CREATE INDEX latest_of_status ON standings (account, kind, status, at, run);
CREATE INDEX latest_of_name ON standings (account, kind, name, at, run);
CREATE INDEX latest_ended ON standings (kind, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX latest_ended_of_account ON standings (account, kind, ended_at)
    WHERE ended_at IS NOT NULL;
COMMIT;
PRAGMA user_version = 2;
