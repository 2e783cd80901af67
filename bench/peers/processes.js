// The processes of one contender: started, held, looked at, stopped.
'use strict';
const { execFileSync, spawn } = require('child_process');
const fs = require('fs');
const path = require('path');

const TICKS_A_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const UTIME = 11; // counted from behind the program's name
const STIME = 12;

const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
['SIGINT', 'SIGTERM'].forEach((signal) => process.once(signal, () => process.exit(1)));

/// One that ends by itself ends the whole run.
function start(folder, program, args) {
  const log = fs.openSync(path.join(folder, 'log'), 'a');
  const child = spawn(program, args, { stdio: ['ignore', log, log], cwd: folder });
  fs.closeSync(log);
  running.add(child);
  child.once('exit', (status) => {
    running.delete(child);
    if (!child.isToStop) {
      console.error(`${program} ${args.join(' ')} ended with ${status}; see ${folder}/log`);
      process.exit(1);
    }
  });
  return child;
}

function hold(processes) {
  processes.forEach((child) => child.kill('SIGSTOP'));
}

function release(processes) {
  processes.forEach((child) => child.kill('SIGCONT'));
}

async function stop(processes) {
  await Promise.all(processes.map((child) => new Promise((resolve) => {
    child.isToStop = true;
    child.once('exit', resolve);
    child.kill('SIGTERM');
  })));
}

/// Peak resident memory of all of them, in MiB.
function memory(processes) {
  return processes.reduce((sum, { pid }) => {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return sum + Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024;
  }, 0);
}

/// Resident memory of all of them now, in MiB; a page that several map, such as a library's, is
/// shared out among them.
function memoryShared(processes) {
  return processes.reduce((sum, { pid }) => {
    const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return sum + Number(/Pss:\s+(\d+)/.exec(rollup)[1]) / 1024;
  }, 0);
}

/// What all of them have used of processors so far, in seconds.
function cpu(processes) {
  return processes.reduce((sum, { pid }) => {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return sum + (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_A_SECOND;
  }, 0);
}

module.exports = { cpu, hold, memory, memoryShared, release, start, stop };
