import './base.css';
import '../../chutes_jupyter/kernel/static/panel.css';
