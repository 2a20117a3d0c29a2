#!/usr/bin/env node
// Old syntax on purpose: this file must run on every Node, to say in one line what is missing.
'use strict';
var parts = process.versions.node.split('.');
var major = Number(parts[0]);
var minor = Number(parts[1]);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    'sortie needs Node 22.18 or later; this is ' +
      process.version +
      '. In a checkout, `make run` brings its own.\n',
  );
  process.exit(1);
}
var modules = require('node:module');
if (modules.enableCompileCache) modules.enableCompileCache();
var path = require('node:path');
var url = require('node:url');
var fs = require('node:fs');
// A package carries compiled files; a checkout runs its sources.
var built = path.join(__dirname, '..', 'dist', 'main.js');
var entry = fs.existsSync(built) ? built : path.join(__dirname, '..', 'src', 'main.ts');
import(url.pathToFileURL(entry).href).then(
  (main) => main.main(process.argv),
  (error) => {
    process.stderr.write('sortie: ' + error.message + '\n');
    process.exit(1);
  },
);
